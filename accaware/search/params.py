"""What the search can be told: the `accuracy_aware_training` section, one dataclass a mode.

The search is usable by itself, so its parameters and their defaults live here; the config room
builds these very classes, and no default is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from accaware.errors import UsageError

WEIGHT_AVERAGING = ("none", "polynomial")

_AVERAGING_RULE = f"weight_averaging must be {' or '.join(WEIGHT_AVERAGING)}"


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Trials are judged on one part of the validation data, and the final model on another.

    ``fraction`` is the share of the validation data that is kept for the latter; None where the
    plugin, or a script, brings that part as a third one.
    """

    fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class AdaptiveParams:
    """Parameters of mode ``adaptive_compression_level``.

    Exactly one of the two degradations is set. ``maximal_relative_accuracy_degradation`` is in
    percent of the baseline, ``maximal_absolute_accuracy_degradation`` in the metric's own units.
    Rates and their steps are fractions in [0, 1]; epochs are counts. With 0
    ``initial_training_phase_epochs``, which strategy uniform_decrease needs and no other looks at,
    there is no initial phase, and the search begins with its first step up from the baseline model.
    With ``weight_averaging`` other than none, what is validated and kept of a trial is the average
    over its steps. ``required_confidence``, in (0.5, 1), makes each verdict a test on paired
    samples (see ``AccuracyBudget.admits``). ``parallel_trials`` above 1 has strategy ramp propose
    so many rates at a time.
    """

    maximal_relative_accuracy_degradation: float | None = None
    maximal_absolute_accuracy_degradation: float | None = None
    initial_training_phase_epochs: int | None = None
    patience_epochs: int
    minimal_compression_rate_step: float = 0.025
    initial_compression_rate_step: float = 0.1
    compression_rate_step_reduction_factor: float = 0.5
    validate_every_n_epochs: int = 1
    maximal_total_epochs: int = 10000
    lr_reduction_factor: float = 0.5
    stop_trial_when_within_budget: bool = False
    minimal_compression_rate: float = 0.0
    maximal_compression_rate: float = 0.95
    strategy: str = "uniform_decrease"
    parallel_trials: int = 1
    trial_learning_rate: float | str = "as_configured"
    polish: bool = False
    weight_averaging: str = "none"
    confirmation: Confirmation | None = None
    required_confidence: float | None = None

    @property
    def initial_epochs(self) -> int:
        """Of the initial phase, which follows the compression's schedule; 0 for none."""
        if self.strategy != "uniform_decrease":
            return 0
        return self.initial_training_phase_epochs or 0

    @property
    def learning_rate_factor(self) -> float:
        """By which every trial's base learning rate is multiplied to begin with."""
        return _factor_of(self.trial_learning_rate)

    def check(self) -> None:
        """For parameters that were built in Python and so met no schema.

        Raises:
            UsageError: with every number that would keep the search from working or ending.
        """
        _require(
            {
                "initial_training_phase_epochs must be given for strategy uniform_decrease": (
                    self.strategy != "uniform_decrease"
                    or self.initial_training_phase_epochs is not None
                ),
                "initial_training_phase_epochs must be 0 or more": self.initial_epochs >= 0,
                "patience_epochs must be 1 or more": self.patience_epochs >= 1,
                "validate_every_n_epochs must be 1 or more": self.validate_every_n_epochs >= 1,
                "maximal_total_epochs must be 1 or more": self.maximal_total_epochs >= 1,
                "minimal_compression_rate_step must be above 0": (
                    self.minimal_compression_rate_step > 0
                ),
                "initial_compression_rate_step must be above 0": (
                    self.initial_compression_rate_step > 0
                ),
                "compression_rate_step_reduction_factor must be between 0 and 1": (
                    0 < self.compression_rate_step_reduction_factor < 1
                ),
                "lr_reduction_factor must be above 0": self.lr_reduction_factor > 0,
                "minimal_compression_rate and maximal_compression_rate must be in order, "
                "from 0 to 1": (
                    0 <= self.minimal_compression_rate <= self.maximal_compression_rate <= 1
                ),
                "strategy must be uniform_decrease or ramp": (
                    self.strategy in ("uniform_decrease", "ramp")
                ),
                "parallel_trials must be 1 or more, and above 1 with strategy ramp": (
                    self.parallel_trials == 1
                    or (self.parallel_trials > 1 and self.strategy == "ramp")
                ),
                **_learning_rate_rules(self.trial_learning_rate),
                _AVERAGING_RULE: self.weight_averaging in WEIGHT_AVERAGING,
                **_verdict_rules(self.confirmation, self.required_confidence),
            }
        )


@dataclass(frozen=True, kw_only=True)
class EarlyExitParams:
    """Parameters of mode ``early_exit``. Exactly one of the two degradations is set."""

    parallel_trials: ClassVar[int] = 1
    """Its one trial follows the schedule."""

    maximal_relative_accuracy_degradation: float | None = None
    maximal_absolute_accuracy_degradation: float | None = None
    maximal_total_epochs: int
    validate_every_n_epochs: int = 1
    trial_learning_rate: float | str = "as_configured"
    weight_averaging: str = "none"
    confirmation: Confirmation | None = None
    required_confidence: float | None = None

    @property
    def learning_rate_factor(self) -> float:
        """By which the base learning rate is multiplied."""
        return _factor_of(self.trial_learning_rate)

    def check(self) -> None:
        """As of :class:`AdaptiveParams`."""
        _require(
            {
                "validate_every_n_epochs must be 1 or more": self.validate_every_n_epochs >= 1,
                "maximal_total_epochs must be 1 or more": self.maximal_total_epochs >= 1,
                **_learning_rate_rules(self.trial_learning_rate),
                _AVERAGING_RULE: self.weight_averaging in WEIGHT_AVERAGING,
                **_verdict_rules(self.confirmation, self.required_confidence),
            }
        )


SearchParams = AdaptiveParams | EarlyExitParams


def _factor_of(trial_learning_rate: float | str) -> float:
    return 1.0 if isinstance(trial_learning_rate, str) else trial_learning_rate


def _verdict_rules(
    confirmation: Confirmation | None, required_confidence: float | None
) -> dict[str, bool]:
    fraction = None if confirmation is None else confirmation.fraction
    return {
        "the fraction of confirmation must be between 0 and 1": (
            fraction is None or 0 < fraction < 1
        ),
        "required_confidence must be between 0.5 and 1": (
            required_confidence is None or 0.5 < required_confidence < 1
        ),
    }


def _learning_rate_rules(value: float | str) -> dict[str, bool]:
    rule = "trial_learning_rate must be as_configured, cosine, search or a factor above 0"
    if isinstance(value, str):
        return {rule: value in ("as_configured", "cosine", "search")}
    return {rule: value > 0}


def _require(rules: dict[str, bool]) -> None:
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise UsageError("; ".join(broken))


def revived(content: dict[str, Any]) -> SearchParams:
    """Parameters out of what ``dataclasses.asdict`` made of some."""
    confirmation = content.get("confirmation")
    if confirmation is not None:
        content = {**content, "confirmation": Confirmation(**confirmation)}
    if "patience_epochs" in content:
        return AdaptiveParams(**content)
    return EarlyExitParams(**content)
