"""A table as data, whose rows can be sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Bar:
    """A part of a whole, drawn."""

    share: float
    tip: str

    @property
    def percent(self) -> float:
        """Of the bar's width."""
        return round(100 * min(max(self.share, 0.0), 1.0), 2)


@dataclass(frozen=True)
class Cell:
    """What stands there.

    Attributes:
        by: what it is sorted by; None for its text.
        kind: a class of the style sheet.
    """

    text: str
    by: float | None = None
    kind: str = ""
    bar: Bar | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading; numbers stand on the right."""

    heading: str
    number: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of as many cells as there are columns, the first of which names the row."""

    template: ClassVar[str] = "table.html"

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False


def columns(*names: str, texts: Sequence[str] = ()) -> list[Column]:
    """Columns of numbers, but for the first one and those in ``texts``."""
    return [
        Column(heading=name, number=at > 0 and name not in texts) for at, name in enumerate(names)
    ]
