"""Where a run stands, read from its directory alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from accaware.results import strict_json
from accaware.results.from_json import structured
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_reader import JournalLine, read_journal
from accaware.rundir.lock import is_locked
from accaware.rundir.result_file import read_result, sparsity_document
from accaware.search.budget import AccuracyBudget
from accaware.search.history import History
from accaware.search.trial import Trial


class RunState(str, Enum):
    """Whether a run goes on, and if not, how it ended."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that has begun and has no verdict yet; ``worker`` is None for the run's process."""

    number: int
    target_rate: float
    epochs: int = 0
    planned_epochs: int
    worker: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What the journal reports of a run.

    Attributes:
        directory: of the run.
        trials: the finished ones.
        current: the number of the trial at hand, the first of several; None between trials and
            once it has finished.
        running: all trials at hand.
        epochs: trained so far.
        best: of the trials so far: the highest rate within budget, or else the best effort.
        message: why it failed or was interrupted, where it could still say so.
        can_resume: whether there is anything to go on with.
    """

    directory: Path
    state: RunState
    trials: tuple[Trial, ...]
    current: int | None
    running: tuple[RunningTrial, ...] = ()
    epochs: int
    budget: AccuracyBudget | None
    best: Trial | None
    message: str | None

    @property
    def can_resume(self) -> bool:
        """Whether a process may go on with it."""
        return self.state in (RunState.INTERRUPTED, RunState.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """As `accaware status --json` has it."""
        return {
            "state": self.state,
            "message": self.message,
            "trial": self.current,
            "running": [vars(trial) for trial in self.running],
            "epochs": self.epochs,
            "trials": [_told(trial) for trial in self.trials],
            "best": None if self.best is None else _told(self.best),
            "resume": ["accaware", "run", "--resume", str(self.directory)]
            if self.can_resume
            else None,
        }

    def to_json(self) -> str:
        """The text that `accaware status --json` prints."""
        return strict_json.document(self.to_dict())


def standing(directory: RunDirectory, *, ended: bool = False) -> RunStatus:
    """Where the run in a directory stands.

    Args:
        ended: it no longer runs, whoever holds its lock.

    Raises:
        JournalError: a line of the journal can't be read.
        UsageError: result.json can't be read.
        OSError: a file can't be read.
    """
    lines = read_journal(directory.events)
    budget, trials = None, []
    running: dict[int, RunningTrial] = {}
    for line in lines:
        content = line.content
        if line.event == "search_started":
            budget = structured(AccuracyBudget, content["budget"])
        elif line.event == "trial_started":
            begun = running.get(content["number"])
            running[content["number"]] = RunningTrial(
                number=content["number"],
                target_rate=content["target_rate"],
                epochs=0 if begun is None else begun.epochs,
                planned_epochs=content["epochs"],
                worker=content.get("worker"),
            )
        elif line.event == "epoch_finished":
            trained = int(content["epoch"]["number"] > 0)
            before = running[content["trial"]]
            running[content["trial"]] = replace(before, epochs=before.epochs + trained)
        elif line.event == "trial_finished":
            trials.append(structured(Trial, content["trial"]))
            running.pop(trials[-1].number, None)
    ranked = History(tuple(trials)).ranked(budget) if budget else []
    state, message = _state(directory, lines, ended=ended)
    written = read_result(directory.result)
    if state is RunState.FINISHED and written is not None and written.result.best is not None:
        # The last validation may have decided otherwise.
        ranked = [trials[written.result.best.trial]]
    return RunStatus(
        directory=directory.path,
        state=state,
        trials=tuple(trials),
        current=min(running, default=None),
        running=tuple(running[number] for number in sorted(running)),
        epochs=_trained(trials) + sum(trial.epochs for trial in running.values()),
        budget=budget,
        best=ranked[0] if ranked else None,
        message=message,
    )


def _trained(trials: Sequence[Trial]) -> int:
    return sum(epoch.number > 0 for trial in trials for epoch in trial.epochs)


def _state(
    directory: RunDirectory, lines: list[JournalLine], *, ended: bool
) -> tuple[RunState, str | None]:
    if not ended and is_locked(directory.lock):
        return RunState.RUNNING, None
    written = read_result(directory.result)
    if written is not None and written.finished:
        return RunState.FINISHED, written.result.stop_reason.value
    if lines and lines[-1].event == "run_stopped":
        last = lines[-1].content
        failed = last["reason"] == "failed"
        return RunState.FAILED if failed else RunState.INTERRUPTED, last["message"]
    return RunState.INTERRUPTED, None  # killed: it had no time to say anything


def _told(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "target_rate": trial.target_rate,
        "compression_rate": trial.compression_rate,
        **sparsity_document(trial),
        "metric": trial.metric,
        "within_budget": trial.within_budget,
        "reason": trial.reason,
    }
