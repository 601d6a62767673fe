"""A trial while it runs."""

from __future__ import annotations

import math

from accaware.search.budget import AccuracyBudget
from accaware.search.trial import Checkpoint, Epoch, Trial, TrialPhase, TrialState


class TrialRecord:
    """A running trial: its epochs, its best one so far, and what ended it.

    Attributes:
        rate: achieved when last looked at.
        failure: why the trial can't go on, one clause; None while it can.
        stopped_by_user: the user's early stopping ended it.
    """

    def __init__(
        self, *, number: int, phase: TrialPhase, target: float, lr_factor: float, rate: float
    ) -> None:
        self.number = number
        self.phase = phase
        self.target = target
        self.lr_factor = lr_factor
        self.rate = rate
        self.epochs: list[Epoch] = []
        self.failure: str | None = None
        self.stopped_by_user = False
        self._best: Epoch | None = None
        self._checkpoint: Checkpoint | None = None

    @property
    def trained(self) -> int:
        """Epochs of training so far."""
        return sum(epoch.number > 0 for epoch in self.epochs)

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
        return budget.better(epoch.metric, than=self._best.metric if self._best else None)

    def keep(self, best: Epoch, checkpoint: Checkpoint) -> None:
        """Remember the best epoch, once its weights are saved."""
        self._best, self._checkpoint = best, checkpoint

    def closed(self, budget: AccuracyBudget) -> Trial:
        """The judged trial. Weights within budget stay earned, whatever came after them."""
        best = self._best
        metric = best.metric if best else None
        if budget.admits(metric):
            state = TrialState.WITHIN_BUDGET
            reason = "within budget" + (f", then {self.failure}" if self.failure else "")
        elif self.failure or metric is None:
            state = TrialState.FAILED
            reason = self.failure or "never validated at full compression"
        else:
            state = TrialState.NOT_WITHIN_BUDGET
            reason = f"beyond the limit by {-budget.margin(metric):.4g}"
        return Trial(
            number=self.number,
            phase=self.phase,
            target_rate=self.target,
            compression_rate=best.compression_rate if best else self.rate,
            lr_factor=self.lr_factor,
            epochs=tuple(self.epochs),
            metric=metric,
            best_epoch=best.number if best else None,
            state=state,
            reason=reason,
            checkpoint=self._checkpoint,
        )
