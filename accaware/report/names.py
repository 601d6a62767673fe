"""A layer's name in a table's cell."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

_LEAST = 6


@dataclass(frozen=True)
class Name:
    """One line; where it is too long it loses its beginning, as ends are what differs."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, shown = options.max_width, self.text
        if len(shown) > width:
            mark = ".." if options.ascii_only else "…"
            shown = (mark + shown[len(shown) - max(width - len(mark), 0) :])[:width]
        yield Segment(shown)
        yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_LEAST, len(self.text)), len(self.text))
