"""The bar of an epoch, and how long its trial and the search may still take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from accaware.report.progress.time_left import TimeLeft
from accaware.report.progress.trial_row import TrialRow
from accaware.search.events import BatchFinished

ACTIVITIES = {
    "train": "training",
    "validate": "validating",
    "adapt": "adapting batch norm",
}


_BAR = 40
"""Columns of the bar, where there is room for it."""

_NUMBERS = 46
"""Columns of batches and times behind it."""


class EpochBar:
    """A bar for what is going on: training, validating or adapting, one after the other.

    Behind it is the time that is left: for the activity, and, as soon as an epoch has been
    measured, at most for the trial and at most for the search.
    """

    def __init__(self, console: Console) -> None:
        self.time_left = TimeLeft()
        self._trials: Sequence[int] = ()
        self._console = console
        self._bar = BarColumn()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            self._bar,
            MofNCompleteColumn(),
            _TimeLeftColumn(self._left),
            console=console,
            auto_refresh=False,
        )
        self._task: TaskID | None = None
        self._occasion = "baseline: "
        self._activity = ""
        self._done = 0

    @property
    def renderable(self) -> RenderableType:
        """The bar as rich draws it."""
        description = sum(len(task.description) for task in self._progress.tasks)
        self._bar.bar_width = min(max(self._console.width - description - _NUMBERS, 4), _BAR)
        return self._progress.get_renderable()

    def goes_on_with(self, occasion: str, trial: int | None = None) -> None:
        """What the batches to come belong to, as the beginning of a description."""
        self._occasion = occasion
        self._trials = () if trial is None else (trial,)
        self._end()

    def batch(self, event: BatchFinished) -> None:
        """Go on by a batch; another activity starts a bar of its own."""
        if self._task is None or event.activity != self._activity or event.done < self._done:
            self._end()
            self._activity = event.activity
            description = self._occasion + ACTIVITIES.get(event.activity, event.activity)
            self._task = self._progress.add_task(description, total=event.total)
        self._done = event.done
        self._progress.update(self._task, completed=event.done)

    def epochs(self, rows: Sequence[TrialRow]) -> None:
        """A bar for trials on other workers, of whose epochs alone anything is heard."""
        self._end()
        self._trials = [row.number for row in rows]
        numbers = " and ".join(map(str, sorted(self._trials)))
        description = f"trial{'s' * (len(rows) > 1)} {numbers}: epochs"
        planned, done = (sum(row.planned_epochs for row in rows), sum(row.epochs for row in rows))
        self._task = self._progress.add_task(description, total=planned, completed=done)

    def _left(self) -> str | None:
        """What is said of the time; None where nothing was measured yet."""
        left = self.time_left.of(self._trials)
        if left is None:
            return None
        trials = "trials" if len(self._trials) > 1 else "trial"
        return f"{trials} <= {_clock(left.trial)}, search <= {_clock(left.search)}"

    def _end(self) -> None:
        # A task doesn't outlive its activity: a validation batch's speed says nothing of a
        # training batch's.
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class _TimeLeftColumn(ProgressColumn):
    """That of the trial and of the search where it is known, else that of what is going on."""

    def __init__(self, left: Callable[[], str | None]) -> None:
        super().__init__()
        self._left = left
        self._activity = TimeRemainingColumn()

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        left = self._left()
        if left is None:
            return self._activity.render(task)
        return Text(left, style="progress.remaining")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
