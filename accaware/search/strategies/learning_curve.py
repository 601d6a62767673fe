"""Whether a trial that hasn't passed yet may still pass."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_EPOCHS = 3
"""Before a trial is given up: they show two gains, and one alone may be a stumble."""


def can_still_pass(margins: Sequence[float], epochs_left: int) -> bool:
    """Whether the metric could reach the limit, were it to go on as in its last two epochs.

    Learning curves flatten out, so one that doesn't is an optimist's.

    Args:
        margins: of each validated epoch of the trial, below 0 while it hasn't passed.
        epochs_left: that the trial may still be trained, as many as are validated.
    """
    if len(margins) < _LEAST_EPOCHS:
        return True
    gain = (margins[-1] - margins[-3]) / 2
    return max(margins) + epochs_left * max(gain, 0.0) >= 0
