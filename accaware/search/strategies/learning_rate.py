"""Which multiple of the configured learning rate trains a compressed model best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_RATIO = 3.0
"""Between two factors that are tried; what lies between them makes little difference."""

_HIGHEST = 2
"""Ratios above the configured rate, at the most: each costs an epoch."""

_SLACK = 0.5
"""Budgets that a higher rate may be behind after an epoch: it gains more in the next ones."""

_BROKEN = 12.0
"""Budgets of deficit with the configured rate, at which a lower one is tried."""


@dataclass(frozen=True)
class FactorTried:
    """A factor of the learning rate, and the deficit in budgets after an epoch with it."""

    factor: float
    deficit: float


def next_factor(tried: Sequence[FactorTried]) -> float | None:
    """The next factor to try an epoch with; None where the best one is known.

    The rate that a plugin is configured with is often one for gentle fine-tuning, while after
    filters went that of the first training does best (Renda et al., "Comparing Rewinding and
    Fine-tuning in Neural Network Pruning" (2020), section 4). So it is raised for as long as the
    metric keeps up; and where even the configured one has broken the model, lowered.

    Args:
        tried: from the same weights at the same compression, the configured rate first.
    """
    first, best = tried[0], best_factor(tried)
    highest = max(each.factor for each in tried)
    if best == highest and highest < first.factor * _RATIO ** (_HIGHEST - 0.5):
        return highest * _RATIO
    if best == first.factor and first.deficit > _BROKEN and len(tried) == 2:
        return first.factor / _RATIO
    return None


def best_factor(tried: Sequence[FactorTried]) -> float:
    """The highest factor that kept up with the one below it; a lower one where it is better."""
    best, *others = tried
    for each in others:
        if each.deficit <= best.deficit + (_SLACK if each.factor > best.factor else 0.0):
            best = each
    return best.factor if math.isfinite(best.deficit) else tried[0].factor
