"""Tables of what was found: layers that stay whole, quantizers, exported files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import NOTHING, counted, quantity
from accaware.results.exports import ExportInfo
from accaware.results.quantizers import QuantizerInfo

LAYERS_SHOWN = 10
"""Longer lists are cut; nobody reads two hundred lines before a run."""

LAYERS_HEAD = 5


def left_out_table(layers: Sequence[tuple[str, str]], all_in: Path) -> RenderableType:
    """A table of layers and reasons.

    Args:
        all_in: the file that has the whole list, named where only its head is shown.
    """
    cut = len(layers) > LAYERS_SHOWN
    table = Table(
        "layer",
        "reason",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for layer, reason in layers[: LAYERS_HEAD if cut else None]:
        table.add_row(Text(layer), Text(reason))
    title = Text(f"\nNot compressed: {counted(len(layers), 'layer')}", style="bold")
    hint = f"... and {len(layers) - LAYERS_HEAD} more; the first line of {all_in} has them all"
    rest = Text(hint, no_wrap=True, overflow="ignore") if cut else Text()
    return Group(title, table, rest)


QUANTIZERS_SHOWN = 12
"""Longer lists are cut; result.json has them whole."""

QUANTIZERS_HEAD = 8


def quantizer_table(quantizers: Sequence[QuantizerInfo]) -> RenderableType:
    """A table of quantizers: where each stands, its bits, its range and what has that range."""
    cut = len(quantizers) > QUANTIZERS_SHOWN
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("quantized")
    table.add_column("bits", justify="right")
    table.add_column("mode")
    table.add_column("one range a")
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("to", justify="right", no_wrap=True)
    for each in quantizers[: QUANTIZERS_HEAD if cut else None]:
        least, most = ("-", "-") if each.range is None else (f"{end:.4g}" for end in each.range)
        table.add_row(Text(each.place), str(each.bits), each.mode, each.granularity, least, most)
    title = Text(f"\nQuantized: {counted(len(quantizers), 'tensor')}", style="bold")
    hint = f"... and {len(quantizers) - QUANTIZERS_HEAD} more; result.json has them all"
    rest = Text(hint) if cut else Text()
    return Group(title, table, rest)


def export_table(exports: Sequence[ExportInfo]) -> RenderableType:
    """A row a file: its size, and what it gave on the validation data beside what it should."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("exported")
    for heading in ("size", "batch", "metric", "of the model", "same top-1", "outputs differ by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in exports:
        name = each.format if each.opset is None else f"{each.format}, opset {each.opset}"
        same = NOTHING if each.same_top1 is None else f"{100 * each.same_top1:.4g} %"
        table.add_row(
            name,
            quantity(each.file_size, "B"),
            "any" if each.dynamic_batch else "fixed",
            NOTHING if each.metric is None else f"{each.metric:.6g}",
            f"{each.model_metric:.6g}",
            same,
            f"{each.largest_difference:.2g}",
        )
    paths = (Text(each.file, no_wrap=True, overflow="ignore") for each in exports)
    reasons = (
        Text(f"{each.format}: the batch is fixed: {each.fixed_batch}")
        for each in exports
        if each.fixed_batch is not None
    )
    return Group(Text(), table, Text(), *reasons, *paths)
