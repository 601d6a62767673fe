"""What `accaware inspect` found out, as tables."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.cells import Bar, Name
from accaware.report.formatting import NOTHING, counted, duration, percent, quantity, short_time
from accaware.results.inspection import Inspection, LayerCost, Part, Sensitivity

SHOWN = 30
"""Layers and parts; of longer lists the costliest are shown, and the rest as one row."""

NAMED = 8
"""Layers that are left out for the same reason; the others are counted."""

_BAR = 14


@dataclass(frozen=True)
class InspectionReport:
    """An inspection, to be printed by rich.

    Attributes:
        metric_name: of the plugin's validation.
        higher_is_better: its direction.
    """

    inspection: Inspection
    metric_name: str
    higher_is_better: bool

    def __rich__(self) -> RenderableType:
        return Group(*self._blocks())

    def _blocks(self) -> Iterator[RenderableType]:
        found = self.inspection
        yield _header(found)
        yield _title("Layers")
        yield _layers(found)
        if found.parts:
            noun = "group" if found.has_groups else "layer"
            yield _title(f"Can be compressed: {counted(len(found.parts), noun)}")
            yield _parts(found)
        if found.left_out:
            yield _title(f"Not compressed: {counted(len(found.left_out), 'layer')}")
            yield _left_out(found.left_out)
        yield _title("An epoch of training")
        yield _training(found)
        if found.sensitivity is not None:
            yield _title(
                f"Sensitivity: {self.metric_name} with a part alone removed, nothing trained, on "
                f"{counted(found.sensitivity.samples, 'validation sample')}"
            )
            yield _sensitivity(found.sensitivity, found.parts, self.higher_is_better)


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _header(found: Inspection) -> Text:
    rate = f"{percent(found.maximal_rate)} of the {found.rate_of}"
    return Text(
        f"{found.model} on {found.device}: {quantity(found.parameters)} parameters, "
        f"{quantity(found.flops, 'FLOPs')}, {short_time(found.forward_seconds)} a forward\n"
        f"{found.algorithm}: rates up to {rate}"
    )


def _table() -> Table:
    # The padding makes it fit into 80 columns.
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)


def _numbers(table: Table, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _layers(found: Inspection) -> Table:
    table = _table()
    table.add_column("layer")
    table.add_column("kind")
    _numbers(table, "parameters", "FLOPs", "latency", "", "part")
    whole = sum(layer.seconds or 0.0 for layer in found.layers)
    shown = _costliest(found.layers)
    for layer in found.layers:
        if layer in shown:
            table.add_row(
                Name(layer.name),
                Name(layer.kind),
                quantity(layer.parameters) if layer.parameters else NOTHING,
                quantity(layer.flops, "FLOPs") if layer.flops else NOTHING,
                short_time(layer.seconds),
                _share(layer.seconds, whole),
                NOTHING if layer.part is None else str(layer.part),
            )
    rest = [layer for layer in found.layers if layer not in shown]
    if rest:
        seconds = sum(layer.seconds or 0.0 for layer in rest)
        table.add_row(
            Name(f"{len(rest)} cheaper ones"),
            "",
            quantity(sum(layer.parameters for layer in rest)),
            quantity(sum(layer.flops for layer in rest), "FLOPs"),
            short_time(seconds),
            _share(seconds, whole),
            "",
        )
    return table


def _costliest(layers: Sequence[LayerCost]) -> frozenset[LayerCost]:
    if len(layers) <= SHOWN:
        return frozenset(layers)
    ranked = sorted(layers, key=lambda layer: layer.seconds or 0.0, reverse=True)
    return frozenset(ranked[:SHOWN])


def _parts(found: Inspection) -> RenderableType:
    groups = found.has_groups
    table = _table()
    _numbers(table, "part")
    table.add_column("layers" if groups else "layer")
    if groups:
        _numbers(table, "channels", "stay", "half saves", "")
    else:
        _numbers(table, "weights", "half saves")
    parts = found.parts
    if len(parts) > SHOWN:
        largest = sorted(parts, key=_savings, reverse=True)[:SHOWN]
        parts = tuple(part for part in parts if part in largest)
    for part in parts:
        others = len(part.layers) - 1
        name = part.name + (f" +{others}" if others else "")
        saved = [f"{percent(part.saved_parameters)} parameters"]
        if groups:
            saved = [str(part.least), f"{percent(part.saved_flops)} FLOPs", *saved]
        table.add_row(str(part.number), Name(name), quantity(part.size), *saved)
    more = len(found.parts) - len(parts)
    return (
        Group(table, Text(f"... and {more} that save less; --json has them all")) if more else table
    )


def _savings(part: Part) -> float:
    return part.saved_flops + part.saved_parameters


def _left_out(layers: Sequence[tuple[str, str]]) -> Table:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for layer, reason in layers:
        by_reason[reason].append(layer)
    table = _table()
    table.add_column("reason")
    table.add_column("layers")
    for reason, names in by_reason.items():
        more = len(names) - NAMED
        shown = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
        table.add_row(Text(reason), Text(shown))
    return table


def _training(found: Inspection) -> Table:
    table = _table()
    _numbers(table, "asked", "rate", "params", "FLOPs", "step", "epoch", "")
    first = found.training[0].step_seconds if found.training else None
    for cost in found.training:
        ratio = ""
        if first and cost.step_seconds is not None and cost.rate > 0:
            ratio = f"{cost.step_seconds / first:.2f}x"
        table.add_row(
            percent(cost.rate),
            percent(cost.achieved),
            quantity(cost.parameters),
            quantity(cost.flops, "FLOPs"),
            short_time(cost.step_seconds),
            NOTHING if cost.epoch_seconds is None else duration(cost.epoch_seconds),
            ratio,
        )
    if found.steps_per_epoch is not None:
        table.caption = f"{counted(found.steps_per_epoch, 'step')} an epoch, validation aside"
        table.caption_justify = "left"
    return table


def _sensitivity(found: Sensitivity, parts: Sequence[Part], higher_is_better: bool) -> Table:
    """The most sensitive part first; a bar is the loss, the longest one the greatest."""
    names = {part.number: part.name for part in parts}
    sign = 1 if higher_is_better else -1

    def loss(metric: float) -> float:
        return math.inf if math.isnan(metric) else sign * (found.baseline - metric)

    finite = [loss(metric) for each in found.parts for metric in each.metrics]
    most = max((value for value in finite if math.isfinite(value)), default=0.0)
    table = _table()
    _numbers(table, "part")
    table.add_column("layer")
    for share in found.shares:
        table.add_column(f"{share:.0%} gone", justify="right", no_wrap=True)
        table.add_column("", min_width=2, max_width=_BAR)
    for each in sorted(found.parts, key=lambda one: loss(one.metrics[-1]), reverse=True):
        cells: list[RenderableType] = []
        for metric in each.metrics:
            lost = loss(metric)
            length = 1.0 if lost == math.inf else lost / most if most > 0 else 0.0
            style = "red" if length > 0.5 else "yellow" if length > 0.1 else "green"
            cells += [f"{metric:.4g}", Bar(length, _BAR, style)]
        table.add_row(str(each.part), Name(names[each.part]), *cells)
    table.caption = f"untouched: {found.baseline:.4g}; bars are what is lost"
    table.caption_justify = "left"
    return table


def _share(seconds: float | None, whole: float) -> str:
    return NOTHING if seconds is None or not whole else percent(seconds / whole)
