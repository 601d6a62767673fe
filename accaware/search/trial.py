"""What a search has done so far: epochs, trials and their history, all of it immutable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType

from accaware.search.budget import AccuracyBudget

Checkpoint = NewType("Checkpoint", str)
"""An opaque reference that a Runner hands out on save and takes back on load."""


class TrialPhase(str, Enum):
    """Whether a trial is the schedule's or the search's own."""

    INITIAL = "initial"
    SEARCH = "search"


class TrialState(str, Enum):
    """A trial's verdict; failed where it could not be judged."""

    WITHIN_BUDGET = "within_budget"
    NOT_WITHIN_BUDGET = "not_within_budget"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of training, or the validation before the first one.

    Attributes:
        number: counted over the whole run, from 1; 0 is the validation before any training.
        compression_rate: achieved while it was trained, in [0, 1].
        fully_compressed: whether the rate was the one that the trial is about.
        loss: what training reported, None where it reports nothing.
        metric: None where the epoch wasn't validated.
        seconds: wall time of training and validation.
    """

    number: int
    compression_rate: float
    fully_compressed: bool
    loss: float | None = None
    metric: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate, fine-tuned and judged.

    Attributes:
        target_rate: what was asked.
        compression_rate: what was achieved, measured on the model at the best epoch.
        metric: the best validated one at full compression; None where there is none.
        best_epoch: the number of the epoch it was reached in.
        reason: why the trial ended as it did, one clause for people.
        checkpoint: the best epoch's weights and compression state.
    """

    number: int
    phase: TrialPhase
    target_rate: float
    compression_rate: float
    lr_factor: float = 1.0
    epochs: tuple[Epoch, ...] = ()
    metric: float | None = None
    best_epoch: int | None = None
    state: TrialState
    reason: str
    checkpoint: Checkpoint | None = None

    @property
    def within_budget(self) -> bool:
        """Whether it was judged, and the criterion held."""
        return self.state is TrialState.WITHIN_BUDGET

    @property
    def judged(self) -> bool:
        """Whether it tells what comes of its target.

        Where an initial phase failed, its schedule or its first training did, not the rate.
        """
        if self.phase is TrialPhase.INITIAL and self.state is TrialState.FAILED:
            return False
        return any(epoch.fully_compressed for epoch in self.epochs)


@dataclass(frozen=True)
class Step:
    """A rate that the strategy asked for and what answered it.

    ``trial`` is the number of the answering trial, which may be an earlier one; None is the
    baseline model, rate 0, within budget by definition.
    """

    target_rate: float
    trial: int | None


@dataclass(frozen=True)
class History:
    """The trials in order of training and the steps in order of asking."""

    trials: tuple[Trial, ...] = ()
    steps: tuple[Step, ...] = ()

    def with_trial(self, trial: Trial) -> History:
        """Also records the step that the trial answers."""
        step = Step(trial.target_rate, trial.number)
        return History((*self.trials, trial), (*self.steps, step))

    def with_known(self, step: Step) -> History:
        """A step that an earlier trial answers."""
        return replace(self, steps=(*self.steps, step))

    def passed(self, step: Step) -> bool:
        """Whether a step was within budget; one without a trial is the baseline model's."""
        return step.trial is None or self.trials[step.trial].within_budget

    def known(self, target_rate: float) -> Step | None:
        """The answer where ``target_rate`` is outside the bracket that is left to search.

        The bracket lies between the highest target within budget (0 to begin with) and the
        lowest one above it that isn't: what is at or below the first is within budget too, what
        is at or above the second isn't either.
        """
        highest = max(
            filter(self.passed, self.steps),
            key=lambda step: step.target_rate,
            default=Step(0.0, None),
        )
        if target_rate <= highest.target_rate:
            return Step(target_rate, highest.trial)
        beyond = (
            step
            for step in self.steps
            if self._failed(step) and step.target_rate > highest.target_rate
        )
        lowest = min(beyond, key=lambda step: step.target_rate, default=None)
        if lowest is not None and target_rate >= lowest.target_rate:
            return Step(target_rate, lowest.trial)
        return None

    def achieved(self, target_rate: float, compression_rate: float) -> Step | None:
        """The answer where an earlier trial was judged at exactly this achieved rate."""
        if compression_rate == 0:
            return Step(target_rate, None)
        for trial in self.trials:
            if trial.judged and trial.compression_rate == compression_rate:
                return Step(target_rate, trial.number)
        return None

    def start_for(self, target_rate: float) -> Trial | None:
        """The trial to start from: the highest rate within budget below ``target_rate``.

        Of those whose weights are kept. None is the baseline model.
        """
        below = [
            trial
            for trial in self.trials
            if trial.within_budget
            and trial.checkpoint is not None
            and trial.compression_rate < target_rate
        ]
        return max(below, key=lambda trial: trial.compression_rate, default=None)

    def ranked(self, budget: AccuracyBudget) -> list[Trial]:
        """Trials whose weights are kept, best first.

        Those within budget by achieved rate and then metric, and after them the best efforts by
        metric and then rate.
        """

        def rank(trial: Trial) -> tuple[bool, float, float]:
            assert trial.metric is not None
            margin, rate = budget.margin(trial.metric), trial.compression_rate
            return (True, rate, margin) if trial.within_budget else (False, margin, rate)

        kept = (trial for trial in self.trials if trial.checkpoint is not None)
        return sorted(kept, key=rank, reverse=True)

    def _failed(self, step: Step) -> bool:
        return not self.passed(step) and step.trial is not None and self.trials[step.trial].judged
