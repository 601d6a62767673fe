"""What a search found, told as it is, and under NNCF's names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from accaware.search.budget import AccuracyBudget
from accaware.search.metric import Measurement
from accaware.search.trial import Checkpoint, Confirmed, Trial


class SearchStatus(str, Enum):
    """Whether what is handed over keeps the accuracy that was asked for."""

    WITHIN_BUDGET = "within_budget"
    NOT_WITHIN_BUDGET = "not_within_budget"


class StopReason(str, Enum):
    """Why a search ended."""

    MAXIMAL_RATE = "the maximal compression rate is within budget"
    MINIMAL_RATE = "the minimal compression rate is not within budget"
    STEP_BELOW_MINIMUM = "the next step would be below the minimal compression rate step"
    EPOCHS_SPENT = "maximal_total_epochs are spent"
    STOPPED_BY_USER_FUNCTION = "early_stopping_fn asked to stop"
    WITHIN_BUDGET = "fully compressed and within budget"
    CONFIRMATION = "confirmation refused the higher rates"
    INTERRUPTED = "interrupted"
    FAILED = "the run failed"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The model that the search hands over.

    ``metric`` is the number of the validation that followed the last load of its weights, not
    the one remembered from its trial. Degradations are positive for a loss; the relative one is
    in percent, None for a baseline of 0. ``standard_error`` is that of the absolute one, None
    where samples aren't known. ``model_sparsity`` is the share of all the model's parameters that
    are zero, None where the algorithm makes none so.
    """

    trial: int
    target_rate: float
    compression_rate: float
    model_sparsity: float | None = None
    metric: float
    standard_error: float | None = None
    absolute_degradation: float
    relative_degradation: float | None
    epoch: int
    checkpoint: Checkpoint

    @classmethod
    def of(cls, trial: Trial, measured: Measurement, budget: AccuracyBudget) -> Best:
        """A trial's model, as it was measured last."""
        assert trial.best_epoch is not None
        assert trial.checkpoint is not None
        metric = measured.value
        return cls(
            trial=trial.number,
            target_rate=trial.target_rate,
            compression_rate=trial.compression_rate,
            model_sparsity=trial.model_sparsity,
            metric=metric,
            standard_error=measured.standard_error,
            absolute_degradation=budget.absolute_degradation(metric),
            relative_degradation=budget.relative_degradation(metric),
            epoch=trial.best_epoch,
            checkpoint=trial.checkpoint,
        )


@dataclass(frozen=True)
class ConfirmationResult:
    """What became of the models that were to be confirmed.

    Attributes:
        budget: around the dense model's metric on the same data.
        tried: in their order, each of a lower rate than the one before; the last one holds, or
            none does.
    """

    budget: AccuracyBudget
    tried: tuple[Confirmed, ...] = ()

    def of(self, trial: int) -> Confirmed | None:
        """What was measured of a trial's model; None where it wasn't tried."""
        return next((one for one in self.tried if one.trial == trial), None)

    def holds(self, trial: int) -> bool:
        """Whether a trial's model was confirmed."""
        confirmed = self.of(trial)
        return confirmed is not None and confirmed.within_budget


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        status: whether ``best`` is within budget; if not, it is the best effort.
        best: None where no trial could be judged at all; the dense model is loaded then.
        epochs: epochs of training spent.
        confirmation: None where none was asked for; otherwise only what was confirmed is within
            budget.
    """

    status: SearchStatus
    stop_reason: StopReason
    budget: AccuracyBudget
    best: Best | None
    trials: tuple[Trial, ...]
    epochs: int
    confirmation: ConfirmationResult | None = None

    @property
    def within_budget(self) -> bool:
        """Whether the criterion holds for what is handed over."""
        return self.status is SearchStatus.WITHIN_BUDGET


@dataclass(frozen=True, kw_only=True)
class TrainingLoopStatistics:
    """What an NNCF 2 script reads after the search.

    Attributes:
        relative_accuracy_degradation: percent of the baseline; None for a baseline of 0.
        accuracy_budget: how far the compressed model is within the limit, in the metric's units.
    """

    uncompressed_accuracy: float
    compression_rate: float
    compressed_accuracy: float | None
    absolute_accuracy_degradation: float | None
    relative_accuracy_degradation: float | None
    accuracy_budget: float | None

    @classmethod
    def of(cls, result: SearchResult) -> TrainingLoopStatistics:
        """The numbers of a result's best trial; None or 0 where no trial was judged."""
        best = result.best
        return cls(
            uncompressed_accuracy=result.budget.baseline,
            compression_rate=best.compression_rate if best else 0.0,
            compressed_accuracy=best.metric if best else None,
            absolute_accuracy_degradation=best.absolute_degradation if best else None,
            relative_accuracy_degradation=best.relative_degradation if best else None,
            accuracy_budget=result.budget.margin(best.metric, best.standard_error)
            if best
            else None,
        )

    def to_str(self) -> str:
        """One line a number, for a log."""
        rows = (
            ("Uncompressed accuracy", self.uncompressed_accuracy),
            ("Compression rate", self.compression_rate),
            ("Compressed accuracy", self.compressed_accuracy),
            ("Absolute accuracy degradation", self.absolute_accuracy_degradation),
            ("Relative accuracy degradation, %", self.relative_accuracy_degradation),
            ("Accuracy budget left", self.accuracy_budget),
        )
        return "\n".join(
            f"{name}: {'-' if value is None else f'{value:.6g}'}" for name, value in rows
        )
