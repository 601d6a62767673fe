"""Cells of tables that draw more than a text: a bar, a name that gives way."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from accaware.report.formatting import PLUS_MINUS


@dataclass(frozen=True)
class Bar:
    """``share`` of ``width`` columns, or of fewer on a narrow screen; one, unless it is nothing."""

    share: float
    width: int
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self.width, options.max_width)
        length = round(min(max(self.share, 0.0), 1.0) * width)
        if self.share > 0:
            length = max(length, 1)
        letter = "#" if options.ascii_only else "█"
        yield Segment(letter * length, Style.parse(self.style))
        yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, self.width)


@dataclass(frozen=True)
class Uncertain:
    """One line on the right, whose plus-minus sign is spelled where it can't be shown."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.text.replace(PLUS_MINUS, "+-") if options.ascii_only else self.text
        yield Text(shown, justify="right", no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = len(self.text) + self.text.count("±") * options.ascii_only
        return Measurement(width, width)


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
