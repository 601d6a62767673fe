"""What a command is doing, for a terminal, gone when it is done."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from accaware.report.console import can_redraw

Tell = Callable[[str, int, int], None]
"""What is done, how often it was, and how often it will be."""

ACTIVITIES = {
    "latency": "timing the layers",
    "sensitivity": "removing each part alone",
    "training": "timing training steps",
}


class Working:
    """A bar for one activity after the other; nothing where nobody could see it move."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not can_redraw(console),
        )
        self._task = self._progress.add_task("setting up", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def tell(self, activity: str, done: int, total: int) -> None:
        """``done`` of ``total`` of an activity."""
        description = ACTIVITIES.get(activity, activity)
        self._progress.update(self._task, description=description, completed=done, total=total)
