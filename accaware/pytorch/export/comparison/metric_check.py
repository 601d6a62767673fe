"""Whether the metric of an exported file is the model's."""

from __future__ import annotations

import math

from accaware.errors import RunError

METRIC_TOLERANCE = 0.003
"""Of the metric's own magnitude, beside what a single sample counts for."""


def check_metric(
    metric: float, reference: float, samples: int, other_top1: int | None = None
) -> None:
    """Compare a file's metric with the model's, on the same samples.

    The metric may differ by METRIC_TOLERANCE of its magnitude, and by what one sample counts for
    whose answer is another one: a mean over samples moves by its range / samples then. The range
    is 1 where both metrics lie between 0 and 1, and 100 where they lie between 0 and 100, however
    small they are; anything else, such as most losses, has no range but its own magnitude.

    Where it is known that a single sample has another answer, its metric is what that sample
    counts for, whatever it is.

    Args:
        other_top1: samples with another top-1 class; None where outputs aren't classes.

    Raises:
        RunError: the metrics are further apart than that.
    """
    if other_top1 == 1 and math.isfinite(metric) and math.isfinite(reference):
        return
    limit = METRIC_TOLERANCE * abs(reference) + _range(metric, reference) / max(samples, 1)
    # A difference of just one sample must not fail by the last bit of a sum.
    if not abs(metric - reference) <= limit * (1 + 1e-6):
        raise RunError(
            f"its metric is {metric:.6g}, the model's {reference:.6g}; a difference of "
            f"{limit:.3g} is allowed"
        )


def _range(metric: float, reference: float) -> float:
    for most in (1.0, 100.0):
        if 0 <= metric <= most and 0 <= reference <= most:
            return most
    return max(abs(metric), abs(reference))
