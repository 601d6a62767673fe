"""The accuracy that may be lost, as one number and one question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from accaware.errors import PluginContractError, UsageError
from accaware.search.metric import BaselineMetric
from accaware.search.params import SearchParams

_NEEDS_SAMPLES = (
    "required_confidence judges by the metric's values of each sample: validate must return "
    "accaware.Metric(value, per_sample=...), of the same samples for the dense model and for a "
    "compressed one, and at least two of them"
)


@dataclass(frozen=True)
class AccuracyBudget:
    """A baseline and how far a metric may fall behind it.

    The limit is computed in decimal, so that 0.8 with 0.1 to lose admits 0.7.

    Attributes:
        baseline: the dense model's metric.
        tolerance: how much may be lost, in the metric's units, never negative.
        higher_is_better: False for metrics such as a loss or perplexity.
        required_confidence: in (0.5, 1), makes of the question a one-sided test of non-inferiority
            on paired samples with the tolerance as its margin; None compares two numbers.
        samples: that the metric is a mean over; None where that isn't known.
        sample_unit: by how much it changes with one sample that is right or wrong; None where
            samples are more or less so.
    """

    baseline: float
    tolerance: float
    higher_is_better: bool = True
    required_confidence: float | None = None
    samples: int | None = None
    sample_unit: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.baseline):
            raise UsageError(f"the baseline metric is {self.baseline}; a search needs a finite one")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise UsageError(f"the tolerated degradation is {self.tolerance}; it must be 0 or more")

    @classmethod
    def from_params(
        cls,
        params: SearchParams,
        baseline: float | BaselineMetric,
        higher_is_better: bool = True,
    ) -> AccuracyBudget:
        """The budget that ``params`` gives around ``baseline``.

        A relative degradation is a percentage of the baseline's absolute value, so that a
        negative metric (a log-likelihood, say) is tolerated downwards too.

        Raises:
            UsageError: not exactly one degradation is set, or a number is out of range.
            PluginContractError: a confidence is required of a baseline without samples.
        """
        dense = BaselineMetric.of(baseline)
        if params.required_confidence is not None and dense.samples is None:
            raise PluginContractError(_NEEDS_SAMPLES)
        relative = params.maximal_relative_accuracy_degradation
        absolute = params.maximal_absolute_accuracy_degradation
        if relative is not None and absolute is None:
            tolerance = float(as_decimal(abs(dense.value)) * as_decimal(relative) / 100)
        elif absolute is not None and relative is None:
            tolerance = absolute
        else:
            raise UsageError(
                "set exactly one of maximal_relative_accuracy_degradation and "
                "maximal_absolute_accuracy_degradation"
            )
        return cls(
            dense.value,
            tolerance,
            higher_is_better,
            params.required_confidence,
            dense.samples,
            dense.sample_unit,
        )

    @property
    def minimal_tolerable(self) -> float:
        """The worst metric still within budget (the largest one where lower is better)."""
        baseline, tolerance = as_decimal(self.baseline), as_decimal(self.tolerance)
        return float(baseline - tolerance if self.higher_is_better else baseline + tolerance)

    def margin(self, metric: float, standard_error: float | None = None) -> float:
        """How far ``metric`` is on the right side of the limit; negative beyond it.

        Where a confidence is required and the standard error of the drop is given, it is the
        confidence bound that has to be there: the margin less the normal quantile times the error.
        """
        margin = metric - self.minimal_tolerable
        margin = margin if self.higher_is_better else -margin
        if self.required_confidence is None or not standard_error:
            return margin
        return margin - _normal_quantile(self.required_confidence) * standard_error

    def admits(self, metric: float | None, standard_error: float | None = None) -> bool:
        """Whether ``metric`` is within budget. No metric and NaN never are.

        With a required confidence this is the test of non-inferiority by a confidence interval:
        the model holds where the one-sided lower bound of its difference to the dense one, paired
        sample by sample and in the normal approximation, is not below the negative tolerance
        (Rothmann, Wiens and Chan, "Design and Analysis of Non-Inferiority Trials", 2011).

        Raises:
            PluginContractError: a confidence is required, and there is no standard error.
        """
        if metric is None or math.isnan(metric):
            return False
        if self.required_confidence is not None and standard_error is None:
            raise PluginContractError(_NEEDS_SAMPLES)
        return self.margin(metric, standard_error) >= 0

    def better(
        self,
        metric: float,
        than: float | None,
        standard_error: float | None = None,
        than_standard_error: float | None = None,
    ) -> bool:
        """Whether ``metric`` beats ``than``, by their margins; anything beats no metric."""
        if than is None:
            return True
        return self.margin(metric, standard_error) > self.margin(than, than_standard_error)

    def absolute_degradation(self, metric: float) -> float:
        """What was lost, in the metric's units; negative where the metric improved."""
        return self.baseline - metric if self.higher_is_better else metric - self.baseline

    def in_doubt(self, standard_error: float) -> str:
        """What to say of a budget that is less than two standard errors of the metric."""
        samples = ""
        if self.sample_unit is not None:
            samples = f", {self.tolerance / self.sample_unit:.3g} of {self.samples} samples"
        return (
            f"is {self.tolerance:.3g}{samples}, less than two standard errors of the metric "
            f"({standard_error:.2g} each): chance has a say in which models are within it. "
            "More validation data make the verdict surer; confirmation and required_confidence "
            "make it hold"
        )

    def in_samples(self, difference: float) -> float | None:
        """A difference of the metric as a number of samples; None where none of them counts."""
        # Whole numbers of samples are told as such, whatever was rounded on the way.
        return round(difference / self.sample_unit, 6) if self.sample_unit else None

    def deficit(self, metric: float | None) -> float:
        """What was lost, in budgets: 1 at the limit. For no budget, in percent of the baseline.

        Without a metric it has no end.
        """
        if metric is None:
            return math.inf
        unit = self.tolerance or abs(self.baseline) / 100 or 1.0
        return self.absolute_degradation(metric) / unit

    def relative_degradation(self, metric: float) -> float | None:
        """What was lost in percent of the baseline, None for a baseline of 0."""
        if self.baseline == 0:
            return None
        return 100 * self.absolute_degradation(metric) / abs(self.baseline)


@cache
def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist  # few searches need it

    return NormalDist().inv_cdf(probability)


def as_decimal(value: float) -> Decimal:
    """The number as it is written, so that sums of what people write are exact."""
    return Decimal(str(float(value)))
