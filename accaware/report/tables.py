"""Tables of what was found: layers that stay whole, quantizers, exported files, runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import (
    NOTHING,
    counted,
    duration,
    percent,
    quantity,
    short_time,
)
from accaware.results.comparison import ComparedRun, Comparison
from accaware.results.exports import ExportInfo
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import Size

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


Value = tuple[str, float | None]
"""A text, and what it is sorted by; None for the text itself."""


def comparison_table(comparison: Comparison) -> Table:
    """A row a run."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for at, heading in enumerate(compared_headings(comparison)):
        # On a narrow screen cells take more lines, rather than lose their ends.
        table.add_column(
            Text(heading),
            justify="right" if at > 1 else "left",
            overflow="fold",
            min_width=len(heading) if at else 12,
        )
    for row in comparison_rows(comparison):
        table.add_row(*(Text(text) for text, _ in row))
    return table


def compared_headings(comparison: Comparison) -> list[str]:
    """Of the columns that ``comparison_rows`` fills."""
    metric = comparison.runs[0].metric_name if comparison.same_metric else "metric"
    sizes = ["parameters", "FLOPs", "file size", "latency"]
    return ["run", "verdict", metric, "drop", "rate", *sizes, "epochs", "time"]


def comparison_rows(comparison: Comparison) -> Iterator[list[Value]]:
    """A row a run, with as many values as there are headings."""
    for run in comparison.runs:
        yield [
            (run.directory, None),
            (_verdict(run), None),
            (_metric(run, named=not comparison.same_metric), run.metric),
            (_drop(run), run.relative_drop),
            _known(run.compression_rate, percent),
            _size(run.parameters),
            _size(run.flops),
            _size(run.file_size, "B"),
            _known(run.seconds_of_a_forward, short_time),
            (str(run.epochs), run.epochs),
            _known(run.seconds, duration),
        ]


def _verdict(run: ComparedRun) -> str:
    verdict = {None: "not judged", True: "within", False: "beyond"}
    told = verdict[run.within_budget]
    return told if run.state == "finished" else f"{told}, {run.state}"


def _metric(run: ComparedRun, *, named: bool) -> str:
    if run.metric is None:
        return NOTHING
    return f"{run.metric_name} {run.metric:.4g}" if named else f"{run.metric:.4g}"


def _drop(run: ComparedRun) -> str:
    if run.drop is None:
        return NOTHING
    relative = "" if run.relative_drop is None else f" ({run.relative_drop + 0.0:.1f} %)"
    return f"{run.drop + 0.0:.3g}{relative}"


def _size(size: Size | None, unit: str = "") -> Value:
    return (NOTHING, None) if size is None else (quantity(size.compressed, unit), size.compressed)


def _known(value: float | None, text: Callable[[float], str]) -> Value:
    return (NOTHING, None) if value is None else (text(value), value)
