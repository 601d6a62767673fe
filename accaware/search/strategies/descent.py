"""The descent: lower rates, after no model that the search found was confirmed."""

from __future__ import annotations

from accaware.search.history import History, Step
from accaware.search.params import AdaptiveParams
from accaware.search.result import StopReason
from accaware.search.strategies.strategy import Bounds, Decision, Propose, Stop, on_grid

_KEPT = 0.85**2
"""Of what is left at a lower rate, at a rate that was refused: the least that a descent goes."""

_LEAST_LEFT = 1e-3
"""Of a model, on the scale of what is left, which has no end."""


class Descent:
    """One lower rate after another, until a trial is within budget and so may be confirmed.

    A trial that the search has left at such a rate, or between it and the one that was refused, is
    as good; one far below isn't.

    Each lies as far below the lowest rate that was refused, or failed on the way, as that lies
    below the highest, on the scale of what is left: the more often data that weren't looked at
    say no, the further off the rate that holds must be, and each look at them makes their answer
    worth less. Trials are trained to their end, as the best of more epochs holds more surely than
    the first that passes.
    """

    def __init__(self, params: AdaptiveParams, bounds: Bounds) -> None:
        self._params = params
        self._bounds = bounds
        # What is less than a search's first step up isn't worth the epochs any more.
        self._least = params.initial_compression_rate_step

    @property
    def most_epochs(self) -> int:
        """A trial at each rate from the highest one downwards."""
        highest = self._bounds.maximal
        rate, trials = self._below(highest, highest), 0
        while rate is not None:
            rate, trials = self._below(highest, rate), trials + 1
        # Whether what passes at a rate still has its weights turns out when it is asked for.
        return trials * self._params.patience_epochs

    def decide(self, history: History) -> Decision:
        """The next lower rate, unless there is a model that may be confirmed."""
        rejected = self._rejected(history)
        lowest = min(rejected, key=lambda step: step.target_rate)
        rate = self._below(max(step.target_rate for step in rejected), lowest.target_rate)
        if rate is None or any(
            trial.within_budget and trial.checkpoint and rate <= trial.target_rate
            for trial in history.trials
            if trial.target_rate < lowest.target_rate
        ):
            return Stop(StopReason.CONFIRMATION)
        start = history.nearest(rate)
        assert lowest.trial is not None
        return Propose(
            rate=rate,
            epochs=self._params.patience_epochs,
            lr_factor=history.trials[lowest.trial].lr_factor,
            start=None if start is None else start.number,
            gives_up=True,
            # What passed there once, and whose weights are gone, has to be trained once more.
            again=any(step.target_rate == rate for step in history.steps),
        )

    def wanted(self, history: History) -> frozenset[int]:
        """All at lower rates, to start from, and the refused ones, the best efforts so far."""
        lowest = min(step.target_rate for step in self._rejected(history))
        below = {trial.number for trial in history.trials if trial.target_rate < lowest}
        return frozenset(below | history.refused)

    def _rejected(self, history: History) -> list[Step]:
        """What the confirmation refused, and what failed below that."""
        refused = [step for step in history.steps if step.trial in history.refused]
        lowest = min(step.target_rate for step in refused)
        failed = (step for step in history.steps if step.target_rate < lowest)
        return refused + [step for step in failed if history.failed(step)]

    def _below(self, highest: float, lowest: float) -> float | None:
        """The rate to try below ``lowest``, out of the rates at which nothing holds; None for none.

        Where the way down is longer than what is left of it, it goes half of that.
        """
        left = 1 - lowest
        further = left * max(left / max(1 - highest, _LEAST_LEFT), 1 / _KEPT)
        rate = on_grid(max(1 - further, lowest / 2, self._bounds.minimal))
        return rate if self._least <= rate < lowest else None
