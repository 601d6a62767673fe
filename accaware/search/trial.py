"""What a search has done so far: epochs, trials and their history, all of it immutable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType

Checkpoint = NewType("Checkpoint", str)
"""An opaque reference that a Runner hands out on save and takes back on load."""


class TrialPhase(str, Enum):
    INITIAL = "initial"
    SEARCH = "search"


class TrialState(str, Enum):
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
        return self.state is TrialState.WITHIN_BUDGET


@dataclass(frozen=True)
class Step:
    """A rate that the strategy asked for and what answered it.

    ``trial`` is the number of the answering trial, which may be an earlier one with the same
    layout; None is the untouched model, rate 0, within budget by definition.
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

    def with_known(self, target_rate: float, trial: int | None) -> History:
        return replace(self, steps=(*self.steps, Step(target_rate, trial)))

    def passed(self, step: Step) -> bool:
        return step.trial is None or self.trials[step.trial].within_budget

    def known(self, target_rate: float) -> Step | None:
        """The step that already answered this target; rate 0 needs no training to be known."""
        if target_rate == 0:
            return Step(0.0, None)
        return next((step for step in self.steps if step.target_rate == target_rate), None)

    def achieved(self, compression_rate: float) -> Trial | None:
        """The trial that was judged at exactly this achieved rate."""
        judged = (trial for trial in self.trials if trial.compression_rate == compression_rate)
        return next(judged, None)

    @property
    def epochs(self) -> int:
        """Epochs of training so far, in all trials."""
        return sum(epoch.number > 0 for trial in self.trials for epoch in trial.epochs)

    def start_for(self, target_rate: float) -> Trial | None:
        """The trial to start from: the highest rate within budget below ``target_rate``.

        None is the untouched model.
        """
        below = [
            trial
            for trial in self.trials
            if trial.within_budget and trial.compression_rate < target_rate
        ]
        return max(below, key=lambda trial: trial.compression_rate, default=None)
