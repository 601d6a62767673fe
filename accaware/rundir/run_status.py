"""Where a run stands, read from its directory alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from accaware.results.from_json import structured
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_reader import JournalLine, read_journal
from accaware.rundir.lock import is_locked
from accaware.rundir.result_file import read_result
from accaware.search.budget import AccuracyBudget
from accaware.search.trial import History, Trial


class RunState(str, Enum):
    """Whether a run goes on, and if not, how it ended."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """What the journal reports of a run.

    Attributes:
        trials: the finished ones.
        current: the number of the trial at hand; None between trials and once it has finished.
        epochs: trained so far.
        best: of the trials so far: the highest rate within budget, or else the best effort.
        message: why it failed or was interrupted, where it could still say so.
        can_resume: whether there is anything to go on with.
    """

    state: RunState
    trials: tuple[Trial, ...]
    current: int | None
    epochs: int
    budget: AccuracyBudget | None
    best: Trial | None
    message: str | None

    @property
    def can_resume(self) -> bool:
        """Whether a process may go on with it."""
        return self.state in (RunState.INTERRUPTED, RunState.FAILED)


def standing(directory: RunDirectory) -> RunStanding:
    """Where the run in ``directory`` stands.

    Raises:
        JournalError: a line of the journal can't be read.
        UsageError: result.json can't be read.
        OSError: a file can't be read.
    """
    lines = read_journal(directory.events)
    budget, trials, current, epochs = None, [], None, 0
    for line in lines:
        content = line.content
        if line.event == "search_started":
            budget = structured(AccuracyBudget, content["budget"])
        elif line.event == "trial_started":
            current = content["number"]
        elif line.event == "epoch_finished":
            epochs = content["epoch"]["number"]
        elif line.event == "trial_finished":
            trials.append(structured(Trial, content["trial"]))
            current = None
    ranked = History(tuple(trials)).ranked(budget) if budget else []
    state, message = _state(directory, lines)
    written = read_result(directory.result)
    if state is RunState.FINISHED and written is not None and written.result.best is not None:
        # The last validation may have decided otherwise.
        ranked = [trials[written.result.best.trial]]
    return RunStanding(
        state=state,
        trials=tuple(trials),
        current=current,
        epochs=epochs,
        budget=budget,
        best=ranked[0] if ranked else None,
        message=message,
    )


def _state(directory: RunDirectory, lines: list[JournalLine]) -> tuple[RunState, str | None]:
    if is_locked(directory.lock):
        return RunState.RUNNING, None
    written = read_result(directory.result)
    if written is not None and written.finished:
        return RunState.FINISHED, written.result.stop_reason.value
    if lines and lines[-1].event == "run_stopped":
        last = lines[-1].content
        failed = last["reason"] == "failed"
        return RunState.FAILED if failed else RunState.INTERRUPTED, last["message"]
    return RunState.INTERRUPTED, None  # killed: it had no time to say anything
