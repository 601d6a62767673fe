"""Which progress a stream gets, and rich's console on it."""

from __future__ import annotations

from importlib.util import find_spec
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console

from accaware.report.progress.line_progress import LineProgress
from accaware.report.progress.live_progress import LiveProgress
from accaware.search.events import Event

LOG_WIDTH = 120
"""Columns of tables in a log; rich would take 80, and wrap."""


class Progress(Protocol):
    """An observer that may draw between entering and leaving."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def notify(self, event: Event) -> None:
        """Draw what an event changes."""


def console_on(stream: IO[str]) -> Console:
    """A console for tables, with colour where ``stream`` is a terminal."""
    terminal = stream.isatty()
    return Console(file=stream, highlight=False, width=None if terminal else LOG_WIDTH)


def progress_on(console: Console, metric_name: str) -> Progress:
    """A live table on a terminal that can redraw itself, plain lines elsewhere."""
    if can_redraw(console):
        return LiveProgress(console, metric_name)
    return LineProgress(console.file, metric_name)


def is_seen(console: Console) -> bool:
    """Whether somebody looks at it: a terminal or a notebook."""
    # isatty is asked: rich calls a pipe a terminal where FORCE_COLOR is set, as CI does.
    return console.is_jupyter or console.file.isatty()


def can_redraw(console: Console) -> bool:
    """Whether what was drawn on it can be drawn over."""
    if console.is_jupyter:
        # Without it rich draws nothing at all there.
        return find_spec("ipywidgets") is not None
    return console.is_interactive and console.file.isatty()
