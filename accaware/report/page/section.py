"""What the page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from accaware.report.page.plot import Plot
from accaware.report.page.table import Table


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two; ``kind`` is a class of the style sheet."""

    template: ClassVar[str] = "paragraph.html"

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to copy, and what they are for."""

    template: ClassVar[str] = "code.html"

    what_for: str
    text: str


@dataclass(frozen=True)
class Folded:
    """What is shown once it is opened."""

    template: ClassVar[str] = "folded.html"

    what: str
    blocks: Sequence[Block]


Block = Paragraph | Code | Plot | Table | Folded


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]
