"""What is quantized, and how."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import counted
from accaware.results.quantizers import QuantizerInfo

SHOWN = 12
"""Longer lists are cut; result.json has them whole."""

HEAD = 8


def quantizer_table(quantizers: Sequence[QuantizerInfo]) -> RenderableType:
    """A table of quantizers: where each stands, its bits, its range and what has that range."""
    cut = len(quantizers) > SHOWN
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("quantized")
    table.add_column("bits", justify="right")
    table.add_column("mode")
    table.add_column("one range a")
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("to", justify="right", no_wrap=True)
    for each in quantizers[: HEAD if cut else None]:
        least, most = ("-", "-") if each.range is None else (f"{end:.4g}" for end in each.range)
        table.add_row(Text(each.place), str(each.bits), each.mode, each.granularity, least, most)
    title = Text(f"\nQuantized: {counted(len(quantizers), 'tensor')}", style="bold")
    hint = f"... and {len(quantizers) - HEAD} more; result.json has them all"
    rest = Text(hint) if cut else Text()
    return Group(title, table, rest)
