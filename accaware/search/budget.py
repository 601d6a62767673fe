"""The accuracy that may be lost, as one number and one question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from accaware.errors import UsageError
from accaware.search.params import SearchParams


@dataclass(frozen=True)
class AccuracyBudget:
    """A baseline and how far a metric may fall behind it.

    The limit is computed in decimal, so that 0.8 with 0.1 to lose admits 0.7.

    Attributes:
        baseline: the dense model's metric.
        tolerance: how much may be lost, in the metric's units, never negative.
        higher_is_better: False for metrics such as a loss or perplexity.
    """

    baseline: float
    tolerance: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.baseline):
            raise UsageError(f"the baseline metric is {self.baseline}; a search needs a finite one")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise UsageError(f"the tolerated degradation is {self.tolerance}; it must be 0 or more")

    @classmethod
    def from_params(
        cls, params: SearchParams, baseline: float, higher_is_better: bool = True
    ) -> AccuracyBudget:
        """The budget that ``params`` gives around ``baseline``.

        A relative degradation is a percentage of the baseline's absolute value, so that a
        negative metric (a log-likelihood, say) is tolerated downwards too.

        Raises:
            UsageError: not exactly one degradation is set, or a number is out of range.
        """
        relative = params.maximal_relative_accuracy_degradation
        absolute = params.maximal_absolute_accuracy_degradation
        if relative is not None and absolute is None:
            return cls(
                baseline,
                float(as_decimal(abs(baseline)) * as_decimal(relative) / 100),
                higher_is_better,
            )
        if absolute is not None and relative is None:
            return cls(baseline, absolute, higher_is_better)
        raise UsageError(
            "set exactly one of maximal_relative_accuracy_degradation and "
            "maximal_absolute_accuracy_degradation"
        )

    @property
    def minimal_tolerable(self) -> float:
        """The worst metric still within budget (the largest one where lower is better)."""
        baseline, tolerance = as_decimal(self.baseline), as_decimal(self.tolerance)
        return float(baseline - tolerance if self.higher_is_better else baseline + tolerance)

    def margin(self, metric: float) -> float:
        """How far ``metric`` is on the right side of the limit; negative beyond it."""
        margin = metric - self.minimal_tolerable
        return margin if self.higher_is_better else -margin

    def admits(self, metric: float | None) -> bool:
        """Whether ``metric`` is within budget. No metric and NaN never are."""
        return metric is not None and self.margin(metric) >= 0

    def better(self, metric: float, than: float | None) -> bool:
        """Whether ``metric`` beats ``than``; anything beats no metric."""
        return than is None or self.margin(metric) > self.margin(than)

    def absolute_degradation(self, metric: float) -> float:
        """What was lost, in the metric's units; negative where the metric improved."""
        return self.baseline - metric if self.higher_is_better else metric - self.baseline

    def deficit(self, metric: float) -> float:
        """What was lost, in budgets: 1 at the limit. For no budget, in percent of the baseline."""
        unit = self.tolerance or abs(self.baseline) / 100 or 1.0
        return self.absolute_degradation(metric) / unit

    def relative_degradation(self, metric: float) -> float | None:
        """What was lost in percent of the baseline, None for a baseline of 0."""
        if self.baseline == 0:
            return None
        return 100 * self.absolute_degradation(metric) / abs(self.baseline)


def as_decimal(value: float) -> Decimal:
    """The number as it is written, so that sums of what people write are exact."""
    return Decimal(str(float(value)))
