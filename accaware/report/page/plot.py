"""A plot as data: marks whose places are percent of its width and height.

The template draws it as SVG, which stays sharp, prints, takes the page's colours, light and dark,
and has text of the same size at any width. A plotting library of the size that is needed here (a
scatter plot, a step line) would be the larger part of each report, or of the time that it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

_TICKS = 7
"""At the most, about."""

_AIR = 0.06
"""Of an axis, kept free at both of its ends."""


@dataclass(frozen=True)
class Axis:
    """A linear scale.

    Attributes:
        label: what is measured, with its unit.
        low, high: its ends.
        text: a value as people read it.
        whole: ticks are whole numbers.
    """

    label: str
    low: float
    high: float
    text: Callable[[float], str] = "{:g}".format
    whole: bool = False

    @classmethod
    def over(
        cls,
        label: str,
        values: Iterable[float],
        text: Callable[[float], str] = "{:g}".format,
        *,
        whole: bool = False,
    ) -> Axis:
        """An axis that has all the values on it, with some air around them."""
        values = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(values), max(values)
        air = _AIR * (high - low) or abs(high) * _AIR or 0.5
        return cls(label, low - air, high + air, text, whole)

    def place(self, value: float) -> float:
        """Percent of the way from its low end; what lies beyond an end is put there."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def holds(self, value: float) -> bool:
        """Whether it is on the axis."""
        return self.low <= value <= self.high

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places in percent and their texts: multiples of 1, 2 or 5 times a power of ten."""
        step = (self.high - self.low) / _TICKS
        size = 10.0 ** math.floor(math.log10(step))
        step = next(size * nice for nice in (1, 2, 5, 10) if size * nice >= step)
        if self.whole:
            step = max(step, 1.0)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        values = [round(number * step, 12) for number in range(first, last + 1)]
        return [(self.place(value), self.text(value)) for value in values]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mark that says ``tip`` when it is pointed at.

    Attributes:
        kind: its look, a class of the style sheet: good, bad, best, dense.
        error: how far up and down it may as well be.
    """

    x: float
    y: float
    tip: str
    kind: str = "plain"
    error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points, of which there are two at least."""

    points: Sequence[tuple[float, float]]
    kind: str = "plain"


@dataclass(frozen=True)
class Level:
    """A horizontal line across the plot, with its name."""

    y: float
    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of the horizontal axis, shaded."""

    start: float
    end: float
    tip: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What is to be seen, and in ``summary`` the same in a sentence for who can't see it."""

    template: ClassVar[str] = "plot.html"

    title: str
    summary: str
    x: Axis
    y: Axis
    points: Sequence[Point] = ()
    lines: Sequence[Line] = ()
    levels: Sequence[Level] = ()
    spans: Sequence[Span] = ()
    small: bool = False

    def across(self, value: float) -> float:
        """Percent from the left."""
        return self.x.place(value)

    def down(self, value: float) -> float:
        """Percent from the top."""
        return round(100 - self.y.place(value), 2)

    def path(self, line: Line) -> str:
        """As SVG's ``points``, in percent of both sides."""
        return " ".join(f"{self.across(x)},{self.down(y)}" for x, y in line.points)
