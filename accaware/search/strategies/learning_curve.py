"""Whether a trial that hasn't passed yet may still pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEAST_EPOCHS = 3
"""Before a trial is given up: of two epochs one may be a stumble."""
_OPTIMISM = 2.0
"""How many times the gain of the last doubling each coming one may bring."""


def can_still_pass(margins: Sequence[float], epochs_left: int) -> bool:
    """Whether the metric could reach the limit, by what the later half of its epochs has gained.

    Learning curves are close to power laws: with each doubling of its epochs a trial gains less
    than with the one before. Twice as much is an optimist's. The best epochs of both halves are
    compared, as single ones are noisy.

    Args:
        margins: of each validated epoch of the trial, below 0 while it hasn't passed.
        epochs_left: that the trial may still be trained, as many as are validated.
    """
    epochs = len(margins)
    if epochs < _LEAST_EPOCHS:
        return True
    half = epochs // 2
    gain = max(max(margins[half:]) - max(margins[:half]), 0.0)
    doublings = math.log2(1 + epochs_left / epochs)
    return max(margins) + _OPTIMISM * gain * doublings >= 0
