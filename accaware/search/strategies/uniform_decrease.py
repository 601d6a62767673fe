"""The step search: up by a step after a rate within budget, down after one that isn't."""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal

from accaware.search.budget import AccuracyBudget, as_decimal
from accaware.search.history import History, Step
from accaware.search.params import AdaptiveParams
from accaware.search.result import StopReason
from accaware.search.strategies.learning_rate import (
    MOST_EPOCHS,
    best_factor,
    first_start,
    learning_rate_trial,
    learning_rate_trials,
    next_factor,
)
from accaware.search.strategies.strategy import (
    GRID,
    Answered,
    Bounds,
    Decision,
    FollowSchedule,
    Propose,
    Stop,
)


class UniformDecrease:
    """NNCF's search, after an initial phase with the compression section's schedule.

    The step shrinks by ``compression_rate_step_reduction_factor`` whenever the direction turns,
    and the learning rate with it. A step over a bound is clamped to the bound.
    """

    def __init__(self, params: AdaptiveParams, bounds: Bounds, budget: AccuracyBudget) -> None:
        self._params = params
        self._bounds = bounds
        self._budget = budget

    @property
    def most_epochs(self) -> int:
        """The initial phase, and a trial for each step that there can be.

        The steps of one size lie between two rates that a larger step has parted, so no more of
        them are trained than fit in there.
        """
        params = self._params
        factor = as_decimal(params.compression_rate_step_reduction_factor)
        step = as_decimal(params.initial_compression_rate_step)
        least = max(as_decimal(params.minimal_compression_rate_step), GRID)
        trials = math.ceil(as_decimal(self._bounds.maximal) / step)
        while (step := (step * factor)) >= least:
            trials += math.ceil(1 / factor)
        # A failed initial phase says nothing of its rate, which may be tried again; and so may
        # the bounds, at which a step was cut short.
        trials += 3
        looking = MOST_EPOCHS if params.trial_learning_rate == "search" else 0
        return params.initial_epochs + looking + params.patience_epochs * trials

    def decide(self, history: History) -> Decision:
        """The initial phase, where there is one, and then a step from the last rate."""
        params = self._params
        if not history.steps and params.initial_epochs:
            return FollowSchedule(params.initial_epochs)
        next_step = self._step(history)
        if isinstance(next_step, Stop):
            return next_step
        rate, reductions = next_step
        known = history.known(rate)
        if known is not None:
            return Answered(known)
        factor, start = params.learning_rate_factor, history.start_for(rate)
        if params.trial_learning_rate == "search":
            tried = learning_rate_trials(history, self._budget)
            another = next_factor(tried)
            if another is not None:
                first = first_start(history) if tried else start
                return learning_rate_trial(rate, another, first)
            factor = best_factor(tried)
        return Propose(
            rate=rate,
            epochs=params.patience_epochs,
            lr_factor=factor * params.lr_reduction_factor**reductions,
            start=None if start is None else start.number,
            ends_within_budget=params.stop_trial_when_within_budget,
        )

    def wanted(self, history: History) -> frozenset[int]:
        """What the learning rate is looked for from; else the best ones, which are kept anyhow."""
        start = first_start(history)
        looking = next_factor(learning_rate_trials(history, self._budget)) is not None
        return frozenset() if start is None or not looking else frozenset({start.number})

    def _step(self, history: History) -> tuple[float, int] | Stop:
        """The next rate, and how often the step was reduced by then."""
        params = self._params
        step = as_decimal(params.initial_compression_rate_step)
        factor = as_decimal(params.compression_rate_step_reduction_factor)
        # Without an initial phase the first step goes up from rate 0, which is within budget.
        began = () if params.initial_epochs else (Step(0.0, None),)
        steps = began + history.steps
        direction, reductions = 0, 0
        for tried in steps:
            verdict = 1 if history.passed(tried) else -1
            if direction and verdict != direction:
                step *= factor
                reductions += 1
            direction = verdict

        rate = as_decimal(steps[-1].target_rate)
        lowest, highest = as_decimal(self._bounds.minimal), as_decimal(self._bounds.maximal)
        if direction > 0 and rate >= highest:
            return Stop(StopReason.MAXIMAL_RATE)
        if direction < 0 and rate <= lowest and history.failed(steps[-1]):
            return Stop(StopReason.MINIMAL_RATE)
        step = step.quantize(GRID, ROUND_FLOOR)
        if step < max(as_decimal(params.minimal_compression_rate_step), GRID):
            return Stop(StopReason.STEP_BELOW_MINIMUM)
        return float(_clamped(rate + direction * step, lowest, highest)), reductions


def _clamped(rate: Decimal, lowest: Decimal, highest: Decimal) -> Decimal:
    return min(max(rate, lowest), highest)
