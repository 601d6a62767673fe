"""A trial as a row of the table: its rate, its metric, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accaware.search.budget import AccuracyBudget
from accaware.search.events import TrialStarted
from accaware.search.trial import Epoch, Trial, TrialPhase, TrialState


@dataclass(frozen=True)
class Verdict:
    """``style`` is a rich one; only a terminal shows it."""

    words: str
    style: str

    @classmethod
    def of(cls, trial: Trial) -> Verdict:
        """What is said of a trial that ended."""
        if trial.state is TrialState.WITHIN_BUDGET:
            # The reason has more to say where a trial went wrong after its best epoch.
            return cls(_what_for(trial) + trial.reason, "green")
        if trial.state is TrialState.NOT_WITHIN_BUDGET:
            return cls(_what_for(trial) + "beyond the limit", "yellow")
        if trial.state is TrialState.CANCELLED:
            return cls(f"{_what_for(trial)}left: {trial.reason}", "bright_black")
        return cls(f"{_what_for(trial)}failed: {trial.reason}", "red")


def _what_for(trial: Trial) -> str:
    """What a trial was for that the search has no verdict by, and with which learning rate."""
    if trial.phase in (TrialPhase.INITIAL, TrialPhase.SEARCH):
        return ""
    factor = "" if trial.lr_factor == 1 else f" at {trial.lr_factor:.3g} x the learning rate"
    return f"{trial.phase.value.replace('_', ' ')}{factor}: "


RUNNING = Verdict("running", "cyan")
STOPPED = Verdict("stopped", "magenta")


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """``rate`` and ``metric`` belong to one epoch: the best judged one, else the latest.

    So does ``model_sparsity``, which is None where the algorithm makes no zeros.

    ``worker`` is who runs it, None for this process.

    ``judged`` says that it is the former: validated at full compression.
    """

    number: int
    target_rate: float
    rate: float
    model_sparsity: float | None = None
    planned_epochs: int
    epochs: int = 0
    metric: float | None = None
    standard_error: float | None = None
    judged: bool = False
    worker: str | None = None
    verdict: Verdict = RUNNING

    @classmethod
    def opened(cls, event: TrialStarted) -> TrialRow:
        """The row of a trial that begins."""
        return cls(
            number=event.number,
            target_rate=event.target_rate,
            rate=event.compression_rate,
            planned_epochs=event.epochs,
            worker=event.worker,
        )

    def on(self, worker: str | None) -> TrialRow:
        """The row of the trial as another worker goes on with it."""
        return replace(self, worker=worker)

    def with_epoch(self, epoch: Epoch, budget: AccuracyBudget) -> TrialRow:
        """The row after one more epoch, which counts where it is the best so far."""
        row = replace(self, epochs=self.epochs + (epoch.number > 0))
        if epoch.metric is None:
            if self.metric is not None:
                return row
            return replace(row, rate=epoch.compression_rate, model_sparsity=epoch.model_sparsity)
        if self.judged and not (
            epoch.fully_compressed
            and budget.better(epoch.metric, self.metric, epoch.standard_error, self.standard_error)
        ):
            return row
        return replace(
            row,
            rate=epoch.compression_rate,
            model_sparsity=epoch.model_sparsity,
            metric=epoch.metric,
            standard_error=epoch.standard_error,
            judged=epoch.fully_compressed,
        )

    def closed(self, trial: Trial) -> TrialRow:
        """The row of the trial as it was judged."""
        return replace(
            self,
            rate=trial.compression_rate,
            model_sparsity=trial.model_sparsity,
            epochs=sum(epoch.number > 0 for epoch in trial.epochs),
            metric=trial.metric,
            standard_error=trial.standard_error,
            verdict=Verdict.of(trial),
        )

    def ended(self, verdict: Verdict) -> TrialRow:
        """Where a trial was cut off, so that nobody judged it."""
        return replace(self, verdict=verdict)

    @property
    def running(self) -> bool:
        """Whether nobody has judged it yet."""
        return self.verdict is RUNNING
