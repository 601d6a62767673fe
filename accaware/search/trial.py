"""A trial: what it is for, its epochs, its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType

from accaware.search.budget import AccuracyBudget

Checkpoint = NewType("Checkpoint", str)
"""An opaque reference that a Runner hands out on save and takes back on load."""


class TrialPhase(str, Enum):
    """What a trial is for.

    The schedule's, an epoch with one of the learning rates to choose from, a step of the ramp, one
    whose verdict the search goes by, or more training of the best one.
    """

    INITIAL = "initial"
    LEARNING_RATE = "learning_rate"
    RAMP = "ramp"
    SEARCH = "search"
    POLISH = "polish"


class TrialState(str, Enum):
    """A trial's verdict; failed where it could not be judged, cancelled where it was left."""

    WITHIN_BUDGET = "within_budget"
    NOT_WITHIN_BUDGET = "not_within_budget"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of training, or the validation before the first one.

    Attributes:
        number: counted over the whole run, from 1; 0 is the validation before any training.
        compression_rate: achieved while it was trained, in [0, 1].
        model_sparsity: the share of all the model's parameters that are zero then; None where the
            algorithm makes none so.
        fully_compressed: whether the rate was the one that the trial is about.
        loss: what training reported, None where it reports nothing.
        metric: None where the epoch wasn't validated.
        standard_error: of the metric's difference to the dense model's; None where samples aren't
            known.
        seconds: wall time of training and validation.
    """

    number: int
    compression_rate: float
    model_sparsity: float | None = None
    fully_compressed: bool
    loss: float | None = None
    metric: float | None = None
    standard_error: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate, fine-tuned and judged.

    Attributes:
        target_rate: what was asked.
        compression_rate: what was achieved, measured on the model at the best epoch.
        model_sparsity: the share of all the model's parameters that are zero at that epoch; None
            where the algorithm makes none so.
        metric: the best validated one at full compression; None where there is none.
        standard_error: of its difference to the dense model's; None where samples aren't known.
        best_epoch: the number of the epoch it was reached in.
        start: the number of the trial whose weights it started from; None for the dense model's.
        reason: why the trial ended as it did, one clause for people.
        checkpoint: the best epoch's weights and compression state.
    """

    number: int
    phase: TrialPhase
    target_rate: float
    compression_rate: float
    model_sparsity: float | None = None
    lr_factor: float = 1.0
    start: int | None = None
    epochs: tuple[Epoch, ...] = ()
    metric: float | None = None
    standard_error: float | None = None
    best_epoch: int | None = None
    state: TrialState
    reason: str
    checkpoint: Checkpoint | None = None

    @property
    def within_budget(self) -> bool:
        """Whether it was judged, and the criterion held."""
        return self.state is TrialState.WITHIN_BUDGET

    @property
    def cancelled(self) -> bool:
        """Whether a trial beside it answered its question, so that it was left unfinished."""
        return self.state is TrialState.CANCELLED

    @property
    def judged(self) -> bool:
        """Whether it tells what comes of its target.

        Where an initial phase, or a trial of an epoch, isn't within budget, its schedule or its
        few epochs may be to blame, and not the rate.
        """
        if self.phase is not TrialPhase.SEARCH or self.cancelled:
            return self.within_budget
        # One that nothing could run to an epoch is no rate to try again.
        return not self.epochs or any(epoch.fully_compressed for epoch in self.epochs)


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A trial's model on the data that no trial is judged by, and whether it is within budget."""

    trial: int
    metric: float
    standard_error: float | None = None
    within_budget: bool


class TrialRecord:
    """A running trial: its epochs, its best one so far, and what ended it.

    Attributes:
        rate: achieved when last looked at.
        failure: why the trial can't go on, one clause; None while it can.
        stopped_by_user: the user's early stopping ended it.
        given_up: it wasn't expected to pass any more.
    """

    def __init__(
        self,
        *,
        number: int,
        phase: TrialPhase,
        target: float,
        lr_factor: float,
        rate: float,
        start: int | None = None,
    ) -> None:
        self.number = number
        self.phase = phase
        self.target = target
        self.lr_factor = lr_factor
        self.start = start
        self.rate = rate
        self.epochs: list[Epoch] = []
        self.failure: str | None = None
        self.stopped_by_user = False
        self.given_up = False
        self._best: Epoch | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def trained(self) -> int:
        """Epochs of training so far."""
        return sum(epoch.number > 0 for epoch in self.epochs)

    @property
    def is_broken_off(self) -> bool:
        """Whether it can't go on, or the user's early stopping doesn't want it to."""
        return self.failure is not None or self.stopped_by_user

    def add(self, epoch: Epoch, budget: AccuracyBudget) -> bool:
        """Take an epoch in. Returns whether it is the best so far, whose weights are to be kept."""
        self.epochs.append(epoch)
        self.rate = epoch.compression_rate
        for name, value in (("loss", epoch.loss), ("metric", epoch.metric)):
            if value is not None and not math.isfinite(value):
                self.failure = f"the {name} is {value} in epoch {epoch.number}"
                return False
        if epoch.metric is None or not epoch.fully_compressed:
            return False
        best = self._best
        return budget.better(
            epoch.metric,
            best.metric if best else None,
            epoch.standard_error,
            best.standard_error if best else None,
        )

    def keep(self, best: Epoch, checkpoint: Checkpoint) -> None:
        """Remember the best epoch, once its weights are saved."""
        self._best, self._checkpoint = best, checkpoint

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The best epoch's weights."""
        return self._checkpoint

    def cancelled(self, budget: AccuracyBudget, reason: str) -> Trial:
        """The trial as it was left unfinished; its weights are nobody's start."""
        closed = self.closed(budget)
        return replace(closed, state=TrialState.CANCELLED, reason=reason, checkpoint=None)

    def closed(self, budget: AccuracyBudget) -> Trial:
        """The judged trial. Weights within budget stay earned, whatever came after them."""
        best = self._best
        metric = best.metric if best else None
        standard_error = best.standard_error if best else None
        if budget.admits(metric, standard_error):
            state = TrialState.WITHIN_BUDGET
            reason = "within budget" + (f", then {self.failure}" if self.failure else "")
        elif self.failure or metric is None:
            state = TrialState.FAILED
            reason = self.failure or "never validated at full compression"
        else:
            state = TrialState.NOT_WITHIN_BUDGET
            reason = _beyond(budget, metric, standard_error)
            if self.given_up:
                reason += ", too far to be made up for"
        return Trial(
            number=self.number,
            phase=self.phase,
            target_rate=self.target,
            compression_rate=best.compression_rate if best else self.rate,
            model_sparsity=best.model_sparsity if best else None,
            lr_factor=self.lr_factor,
            start=self.start,
            epochs=tuple(self.epochs),
            metric=metric,
            standard_error=standard_error,
            best_epoch=best.number if best else None,
            state=state,
            reason=reason,
            checkpoint=self._checkpoint,
        )


def _beyond(budget: AccuracyBudget, metric: float, standard_error: float | None) -> str:
    if budget.admits(metric, 0.0):
        return f"within the limit, but not with a confidence of {budget.required_confidence:g}"
    return f"beyond the limit by {-budget.margin(metric):.4g}"
