"""Exported files, and how well each agrees with the model."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import NOTHING, quantity
from accaware.results.exports import ExportInfo


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
