"""Which multiple of the configured learning rate trains a compressed model best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accaware.search.budget import AccuracyBudget
from accaware.search.history import History
from accaware.search.strategies.strategy import Propose
from accaware.search.trial import Trial, TrialPhase

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


MOST_EPOCHS = 3
"""That are spent on finding the factor."""


def learning_rate_trials(history: History, budget: AccuracyBudget) -> list[FactorTried]:
    """What is known of factors by trials that were for nothing else."""
    return [
        FactorTried(trial.lr_factor, budget.deficit(trial.metric))
        for trial in history.trials
        if trial.phase is TrialPhase.LEARNING_RATE
    ]


def first_start(history: History) -> Trial | None:
    """The trial that all of these start from; None for the dense model, or where there is none."""
    trials = (trial for trial in history.trials if trial.phase is TrialPhase.LEARNING_RATE)
    first = next(trials, None)
    return None if first is None or first.start is None else history.trials[first.start]


def learning_rate_trial(rate: float, factor: float, start: Trial | None) -> Propose:
    """An epoch at a rate with a multiple of the learning rate."""
    return Propose(
        rate=rate,
        epochs=1,
        lr_factor=factor,
        start=None if start is None else start.number,
        phase=TrialPhase.LEARNING_RATE,
        again=True,
    )


def next_factor(tried: Sequence[FactorTried]) -> float | None:
    """The next factor to try an epoch with, first the configured one; None when the best is known.

    The rate that a plugin is configured with is often one for gentle fine-tuning, while after
    filters went that of the first training does best (Renda et al., "Comparing Rewinding and
    Fine-tuning in Neural Network Pruning" (2020), section 4). So it is raised for as long as the
    metric keeps up; and where even the configured one has broken the model, lowered.

    Args:
        tried: from the same weights at the same compression, in their order.
    """
    if not tried:
        return 1.0
    first, best = tried[0], best_factor(tried)
    if first.deficit <= 1:
        return None  # an epoch with the configured one is enough
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
