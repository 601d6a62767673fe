"""The layers that are left out of the compression, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import counted

SHOWN = 10
"""Longer lists are cut; nobody reads two hundred lines before a run."""

HEAD = 5


def left_out_table(layers: Sequence[tuple[str, str]], all_in: Path) -> RenderableType:
    """A table of layers and reasons.

    Args:
        all_in: the file that has the whole list, named where only its head is shown.
    """
    cut = len(layers) > SHOWN
    table = Table(
        "layer",
        "reason",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for layer, reason in layers[: HEAD if cut else None]:
        table.add_row(Text(layer), Text(reason))
    title = Text(f"\nNot compressed: {counted(len(layers), 'layer')}", style="bold")
    hint = f"... and {len(layers) - HEAD} more; the first line of {all_in} has them all"
    rest = Text(hint, no_wrap=True, overflow="ignore") if cut else Text()
    return Group(title, table, rest)
