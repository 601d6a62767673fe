"""The last word: the dense model against the compressed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import (
    MetricText,
    counted,
    duration,
    percent,
    quantity,
    ratio,
    short_time,
    speedup,
)
from accaware.report.tables import export_table, quantizer_table
from accaware.results.handed_over import HandedOver
from accaware.search.result import Best, SearchResult


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A finished run, to be printed by rich.

    Attributes:
        model: None where none is handed over, as is ``path``, of its file.
        seconds: wall time of the whole run.
    """

    result: SearchResult
    model: HandedOver | None
    metric_name: str
    path: Path | None
    seconds: float

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [Text(), self._verdict()]
        if self.result.best is not None:
            parts += [Text(), self._table(self.result.best), Text()]
        if self.model is not None and self.model.quantizers:
            parts.append(quantizer_table(self.model.quantizers))
        if self.model is not None and self.model.exports:
            parts.append(export_table(self.model.exports))
        parts.append(Text(self._ending()))
        if self.path is not None:
            # Whole, however narrow the screen: it is there to be copied.
            parts.append(Text(f"Model: {self.path}", no_wrap=True, overflow="ignore"))
        return Group(*parts)

    def _verdict(self) -> Text:
        if self.result.within_budget:
            return Text("WITHIN BUDGET", style="bold green")
        if self.result.best is not None:
            return Text("BEST EFFORT, NOT WITHIN BUDGET", style="bold yellow")
        return Text(
            "NOT WITHIN BUDGET: no trial could be judged, and no model is saved", style="bold red"
        )

    def _ending(self) -> str:
        trials, epochs = len(self.result.trials), self.result.epochs
        return (
            f"Stopped after {counted(trials, 'trial')}, {counted(epochs, 'epoch')}, "
            f"{duration(self.seconds)}: {self.result.stop_reason.value}"
        )

    def _table(self, best: Best) -> Table:
        budget = self.result.budget
        metric = MetricText(budget)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("")
        for heading in ("dense", "compressed", ""):
            table.add_column(heading, justify="right", no_wrap=True)

        limit = f"limit {metric.value(budget.minimal_tolerable)}"
        table.add_row(
            Text(self.metric_name), metric.value(budget.baseline), metric.value(best.metric), limit
        )
        allowed = f"allowed {metric.value(budget.tolerance)}"
        table.add_row("drop", "", metric.drop(best.metric), allowed)
        asked = f"asked for {percent(best.target_rate)}"
        table.add_row("compression rate", "", percent(best.compression_rate), asked)
        for name, dense, compressed, unit in self._size_rows():
            table.add_row(
                name, quantity(dense, unit), quantity(compressed, unit), ratio(dense, compressed)
            )
        latency = self.model.latency if self.model else None
        if latency is not None:
            before, after = latency.dense.median, latency.compressed.median
            table.add_row(
                f"latency in {latency.runtime}",
                short_time(before),
                short_time(after),
                speedup(before, after),
            )
        return table

    def _size_rows(self) -> list[tuple[str, int, int, str]]:
        if self.model is None:
            return []
        sizes = self.model.sizes
        rows = [
            ("parameters", sizes.parameters, ""),
            ("nonzero parameters", sizes.nonzero_parameters, ""),
            ("FLOPs", sizes.flops, "FLOPs"),
            ("filters", sizes.filters, ""),
            ("file size", sizes.file_size, "B"),
        ]
        # Each algorithm leaves one of these as it is: sparsity the filters, pruning the zeros.
        idle = {"filters"} if sizes.filters.dense == sizes.filters.compressed else set()
        if sizes.nonzero_parameters == sizes.parameters:
            idle.add("nonzero parameters")
        return [
            (name, size.dense, size.compressed, unit)
            for name, size, unit in rows
            if name not in idle
        ]
