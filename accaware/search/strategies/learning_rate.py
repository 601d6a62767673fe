"""Which multiple of the configured learning rate trains a compressed model best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_RATIO = 3.0
"""Between two factors that are tried; what lies between them makes little difference."""

_MOST_FACTORS = 3


@dataclass(frozen=True)
class FactorTried:
    """A factor of the learning rate, and the margin after an epoch with it; None where it broke."""

    factor: float
    margin: float | None

    @property
    def rank(self) -> tuple[float, float]:
        """By the margin, and of equal ones the gentler factor is the better."""
        return float("-inf") if self.margin is None else self.margin, -self.factor


def next_factor(tried: Sequence[FactorTried]) -> float | None:
    """The next factor to try an epoch with; None where the best one is known.

    The rate that a plugin is configured with is often one for gentle fine-tuning, while after
    filters went that of the first training does best (Renda et al., "Comparing Rewinding and
    Fine-tuning in Neural Network Pruning" (2020), section 4). So higher ones come first, and
    a lower one only where these do worse.

    Args:
        tried: from the same weights at the same compression, the configured rate, 1, first.
    """
    if len(tried) >= _MOST_FACTORS:
        return None
    best = best_factor(tried)
    if best == max(each.factor for each in tried):
        return best * _RATIO
    return min(each.factor for each in tried) / _RATIO


def best_factor(tried: Sequence[FactorTried]) -> float:
    """The factor with the best margin."""
    return max(tried, key=lambda each: each.rank).factor
