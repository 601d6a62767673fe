"""The ramp: an epoch at each of ever higher rates, and then trials between what held and didn't."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accaware.search.budget import AccuracyBudget
from accaware.search.history import History
from accaware.search.params import AdaptiveParams
from accaware.search.result import StopReason
from accaware.search.strategies.learning_rate import FactorTried, best_factor, next_factor
from accaware.search.strategies.strategy import (
    Bounds,
    Decision,
    Propose,
    ProposeSeveral,
    Stop,
    on_grid,
)
from accaware.search.trial import Trial, TrialPhase

_KEPT = 0.85
"""Of what is left, after each step of the ramp."""

_COLLAPSED = 8.0
"""Budgets of deficit, twice in a row, at which the ramp ends: no trial makes up for that."""

_UNHARMED = 2.0
"""Budgets of deficit up to which a step of the ramp is followed by a double one."""

_RECOVERABLE = 4.0
"""Budgets of deficit, after an epoch of the ramp, that a trial can be expected to make up for."""

_STRIDE = 2
"""Steps of the ramp from a rate that holds to the next trial, as long as none has failed."""

_SLACK = 1e-3
"""Of a step of the ramp: a rate that is this much below one counts as the one."""

_LEAST_LEFT = 1e-3
"""Of a model, on the scale of what is left, which has no end."""

_BEYOND = 1
"""Steps of the ramp beyond the collapse at which nothing is expected to hold any more."""


class Ramp:
    """One epoch at each of ever higher rates until the metric collapses, then a bisection.

    A trial starts from the nearest rate at or below its own whose weights are kept, within budget
    or not, so that no epoch of the ramp is lost, and ends when it has passed. Rates are halved
    on the scale of what is left, as the last tenths are what makes a model small. With k
    ``parallel_trials`` the bracket is cut into k + 1 parts instead.
    """

    def __init__(self, params: AdaptiveParams, bounds: Bounds, budget: AccuracyBudget) -> None:
        self._params = params
        self._bounds = bounds
        self._budget = budget

    @property
    def most_epochs(self) -> int:
        """The whole ramp, the epochs that look for a learning rate, and trials that all fail."""
        steps = 0
        rate = 0.0
        while rate < self._bounds.maximal:
            rate = self._after(rate)
            steps += 1
        trials = 2 + math.ceil(steps / _STRIDE)  # the first guess, the bound, and strides
        bracket = _Bracket(0.0, self._bounds.maximal)
        while not self._is_narrow(bracket):
            bracket = _Bracket(bracket.low, self._cuts(bracket)[0])
            trials += 1
        trials *= self._params.parallel_trials
        trials *= 2  # each may be tried again from better weights
        looking = 2 if self._params.trial_learning_rate == "search" else 0
        polishing = self._params.patience_epochs if self._params.polish else 0
        return steps + looking + trials * self._params.patience_epochs + polishing

    def decide(self, history: History) -> Decision:
        """The next step of the ramp, or the next trial of the bisection."""
        climb = _Climb.of(history, self._budget)
        if climb.is_to_be_repeated and self._params.trial_learning_rate == "search":
            factor = next_factor(climb.factors)
            if factor is not None:
                again = self._ramp(climb.tries[0].target_rate, factor, climb.base(climb.best[:-1]))
                return replace(again, again=True)
        if climb.highest < self._bounds.maximal and not self._has_collapsed(climb):
            unharmed = any(self._deficit(last) <= _UNHARMED for last in climb.best[-1:])
            rate = self._after(climb.highest, steps=2 if unharmed else 1)
            return self._ramp(rate, climb.factor, climb.base(climb.best))
        return self._bisect(history, climb)

    def wanted(self, history: History) -> frozenset[int]:
        """Those between the bounds of the bracket, and the highest one below them.

        Where the final model is to be confirmed, all below them: the search may go down again.
        """
        low, high = 0.0, 1.0
        climb = _Climb.of(history, self._budget)
        if climb.highest >= self._bounds.maximal or self._has_collapsed(climb):
            bracket = self._bracket(history, climb)
            low, high = bracket.low, bracket.high
        if self._params.confirmation is not None:
            low = 0.0
        base = history.nearest(low)
        inside = {
            trial.number
            for trial in history.trials
            if trial.compression_rate > low and trial.target_rate <= high
        }
        return frozenset(inside | ({base.number} if base else set()))

    def _after(self, rate: float, steps: int = 1) -> float:
        """The rate of the ramp, 1 - 0.85^e, that is so many steps further."""
        left = max(1 - rate, _LEAST_LEFT)
        exponent = math.floor(math.log(left) / math.log(_KEPT) + _SLACK) + steps
        following = on_grid(1 - _KEPT**exponent) if left > _LEAST_LEFT else 1.0
        return min(max(following, self._bounds.minimal), self._bounds.maximal)

    def _ramp(self, rate: float, factor: float | None, start: Trial | None) -> Propose:
        return Propose(
            rate=rate,
            epochs=1,
            lr_factor=self._params.learning_rate_factor if factor is None else factor,
            start=None if start is None else start.number,
            phase=TrialPhase.RAMP,
        )

    def _has_collapsed(self, climb: _Climb) -> bool:
        """Whether the last two steps are beyond repair: one alone may be a stumble."""
        last = climb.best[-2:]
        return len(last) == 2 and all(
            self._budget.deficit(trial.metric) > _COLLAPSED for trial in last
        )

    def _deficit(self, trial: Trial) -> float:
        return self._budget.deficit(trial.metric)

    def _bisect(self, history: History, climb: _Climb) -> Decision:
        bracket, lowest = self._bracket(history, climb), self._bounds.minimal
        if bracket.low >= self._bounds.maximal:
            return self._end(history, StopReason.MAXIMAL_RATE)
        guess = self._guess(history, climb)
        if guess is not None and bracket.low < guess <= bracket.high:
            return self._several(history, climb, self._around(guess, bracket))
        if not self._is_narrow(bracket):
            return self._several(history, climb, self._within(bracket))
        if self._had_a_poor_start(history, bracket.high):
            return replace(self._trial(history, climb, bracket.high), again=True)
        if lowest > 0 and not any(map(history.passed, history.steps)):
            if any(history.failed(step) and step.target_rate <= lowest for step in history.steps):
                return self._end(history, StopReason.MINIMAL_RATE)
            return self._trial(history, climb, lowest)
        return self._end(history, StopReason.STEP_BELOW_MINIMUM)

    def _several(self, history: History, climb: _Climb, rates: Sequence[float]) -> Decision:
        proposals = tuple(self._trial(history, climb, rate) for rate in rates)
        return proposals[0] if len(proposals) == 1 else ProposeSeveral(proposals)

    def _around(self, guess: float, bracket: _Bracket) -> Sequence[float]:
        """The first rates: the guess, and of those beside it the more below it."""
        below = _Bracket(bracket.low, guess)
        above = _Bracket(guess, bracket.high)
        beside = self._params.parallel_trials - 1
        higher = self._cuts(above, beside // 2) if guess < bracket.high else ()
        return [*self._cuts(below, beside - len(higher)), guess, *higher]

    def _within(self, bracket: _Bracket) -> Sequence[float]:
        """Rates that cut the bracket into equal parts, or what of it may be gone at a time."""
        rates = self._cuts(bracket)
        if bracket.has_failed:
            return rates
        stride = max(self._after(bracket.low, _STRIDE), self._bounds.minimal)
        if rates[-1] <= stride:
            return rates
        return [*self._cuts(_Bracket(bracket.low, stride), len(rates) - 1), stride]

    def _cuts(self, bracket: _Bracket, most: int | None = None) -> Sequence[float]:
        """The rates between the equal parts of a bracket, on the scale of what is left.

        No part is narrower than a minimal step.

        Args:
            most: as many at the most; None for as many as are tried at a time.
        """
        most = self._params.parallel_trials if most is None else most
        parts = (bracket.high - bracket.low) / self._params.minimal_compression_rate_step
        count = min(most, math.floor(parts + _SLACK) - 1)
        return [bracket.at(number / (count + 1)) for number in range(1, count + 1)]

    def _bracket(self, history: History, climb: _Climb) -> _Bracket:
        """The highest rate that passed, and the lowest above it that a whole trial failed at."""
        passed = [step for step in history.steps if history.passed(step)]
        low = max((history.reached(step) for step in passed), default=self._bounds.minimal)
        failed = [step.target_rate for step in history.steps if history.failed(step)]
        high = self._bounds.maximal
        if self._has_collapsed(climb):
            high = min(high, on_grid(1 - (1 - climb.highest) * _KEPT**_BEYOND))
        above = [rate for rate in failed if low < rate <= high]
        return _Bracket(low, min(above, default=max(high, low)), has_failed=bool(above))

    def _guess(self, history: History, climb: _Climb) -> float | None:
        """For the first trial: the highest rate of the ramp that looks recoverable."""
        if any(trial.phase is TrialPhase.SEARCH for trial in history.trials):
            return None
        near = (trial.target_rate for trial in climb.best if self._deficit(trial) <= _RECOVERABLE)
        return max(near, default=None)

    def _had_a_poor_start(self, history: History, rate: float) -> bool:
        """Whether what failed at a rate started from worse weights than there are now."""
        start = _start(history, rate)
        failed = [step for step in history.steps if step.target_rate == rate]
        if start is None or not start.within_budget or not any(map(history.failed, failed)):
            return False
        numbers = [step.trial for step in failed if step.trial is not None]
        before = [history.trials[number].start for number in numbers]
        return not any(at is not None and history.trials[at].within_budget for at in before)

    def _is_narrow(self, bracket: _Bracket) -> bool:
        return bracket.high - bracket.low < 2 * self._params.minimal_compression_rate_step

    def _trial(self, history: History, climb: _Climb, rate: float) -> Propose:
        start = _start(history, rate)
        return Propose(
            rate=rate,
            epochs=self._params.patience_epochs,
            lr_factor=self._params.learning_rate_factor if climb.factor is None else climb.factor,
            start=None if start is None else start.number,
            ends_within_budget=True,
            gives_up=True,
        )

    def _end(self, history: History, reason: StopReason) -> Decision:
        """The search is over, but for the polishing of its best trial."""
        best = next(iter(history.ranked(self._budget)), None)
        polished = any(trial.phase is TrialPhase.POLISH for trial in history.trials)
        if not self._params.polish or polished or best is None or not best.within_budget:
            return Stop(reason)
        left = self._params.patience_epochs - len(best.epochs)
        if left <= 0:
            return Stop(reason)
        return Propose(
            rate=best.target_rate,
            epochs=left,
            lr_factor=best.lr_factor,
            start=best.number,
            phase=TrialPhase.POLISH,
            again=True,
        )


@dataclass(frozen=True)
class _Bracket:
    """Between a rate that holds and one that doesn't, or isn't expected to."""

    low: float
    high: float
    has_failed: bool = False
    """Whether a whole trial failed at ``high``; if not, it is but a guess."""

    @property
    def middle(self) -> float:
        """Half way on the scale of what is left."""
        return self.at(0.5)

    def at(self, share: float) -> float:
        """A share of the way up, on the scale of what is left."""
        left = (1 - self.low) ** (1 - share) * max(1 - self.high, _LEAST_LEFT) ** share
        rate = on_grid(1 - left)
        if self.low < rate < self.high:
            return rate
        return on_grid(self.low + share * (self.high - self.low))


@dataclass(frozen=True)
class _Climb:
    """How far the ramp has come.

    Attributes:
        best: of each of its rates the best trial, in their order.
        tries: all trials at the rate at which the metric was first beyond the limit.
        factors: of the learning rate, with which these were trained.
        highest: the highest rate that was reached.
        is_to_be_repeated: the last rate is the first one that was beyond the limit.
    """

    best: Sequence[Trial]
    tries: Sequence[Trial]
    factors: Sequence[FactorTried]
    highest: float
    is_to_be_repeated: bool

    @classmethod
    def of(cls, history: History, budget: AccuracyBudget) -> _Climb:
        def deficit(trial: Trial) -> float:
            return budget.deficit(trial.metric)

        by_rate: dict[float, list[Trial]] = {}
        for trial in history.trials:
            if trial.phase is TrialPhase.RAMP and not trial.cancelled:
                by_rate.setdefault(trial.target_rate, []).append(trial)
        beyond = [tries for tries in by_rate.values() if not tries[0].within_budget]
        tries = beyond[0] if beyond else []
        climbed = [
            history.reached(step)
            for step in history.steps
            if step.trial is None or history.trials[step.trial].phase is TrialPhase.RAMP
        ]
        return cls(
            [
                min(tries, key=lambda trial: budget.deficit(trial.metric))
                for tries in by_rate.values()
            ],
            tries,
            [FactorTried(trial.lr_factor, budget.deficit(trial.metric)) for trial in tries],
            max(climbed, default=0.0),
            bool(beyond) and tries is [*by_rate.values()][-1],
        )

    @staticmethod
    def base(steps: Sequence[Trial]) -> Trial | None:
        """The last of these that left weights to go on from."""
        return next((trial for trial in reversed(steps) if trial.checkpoint is not None), None)

    @property
    def factor(self) -> float | None:
        """Of the learning rate, the best that is known; None as long as none is."""
        return best_factor(self.factors) if self.factors else None


def _start(history: History, rate: float) -> Trial | None:
    """What a trial at a rate had best start from.

    A trial that passed has trained longer than the steps of the ramp, so that it is the better
    start where it is no more than such a step away; else the nearest.
    """
    nearest = history.nearest(rate)
    passed = [
        trial
        for trial in history.trials
        if trial.within_budget
        and trial.checkpoint is not None
        and trial.target_rate <= rate
        and 1 - rate >= (1 - trial.compression_rate) * (_KEPT - _SLACK)
    ]
    return max(passed, key=lambda trial: trial.compression_rate, default=nearest)
