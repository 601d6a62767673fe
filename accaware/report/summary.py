"""The last word: the dense model against the compressed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.cells import Uncertain
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
from accaware.search.budget import AccuracyBudget
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
        parts: list[RenderableType] = [Text(), self._verdict(), *self._confirmation()]
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

    def _confirmation(self) -> list[Text]:
        """What was refused, and whether the best wasn't even tried."""
        confirmation, best = self.result.confirmation, self.result.best
        if confirmation is None:
            return []
        metric = MetricText(confirmation.budget)
        lines = [
            f"Not confirmed: trial {one.trial}, drop {metric.drop(one.metric)}, "
            f"allowed {metric.value(confirmation.budget.tolerance)}"
            for one in confirmation.tried
            if not one.within_budget
        ]
        if best is not None and confirmation.of(best.trial) is None:
            lines.append("Not judged on the confirmation part")
        return [Text(line) for line in lines]

    def _ending(self) -> str:
        trials, epochs = len(self.result.trials), self.result.epochs
        return (
            f"Stopped after {counted(trials, 'trial')}, {counted(epochs, 'epoch')}, "
            f"{duration(self.seconds)}: {self.result.stop_reason.value}"
        )

    def _table(self, best: Best) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("")
        for heading in ("dense", "compressed", ""):
            table.add_column(heading, justify="right", no_wrap=True)

        self._add_metric(table, self.result.budget, best.metric, best.standard_error)
        confirmation = self.result.confirmation
        confirmed = confirmation.of(best.trial) if confirmation else None
        if confirmation is not None and confirmed is not None:
            self._add_metric(
                table,
                confirmation.budget,
                confirmed.metric,
                confirmed.standard_error,
                part=", confirmation",
            )
        asked = f"asked for {percent(best.target_rate)}"
        table.add_row("compression rate", "", percent(best.compression_rate), asked)
        if best.model_sparsity is not None:
            zeros = percent(best.model_sparsity)
            table.add_row("model sparsity", "", zeros, "zeros of all parameters")
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

    def _add_metric(
        self,
        table: Table,
        budget: AccuracyBudget,
        compressed: float,
        standard_error: float | None,
        part: str = "",
    ) -> None:
        metric = MetricText(budget)
        limit = f"limit {metric.value(budget.minimal_tolerable)}"
        table.add_row(
            Text(self.metric_name + part),
            metric.value(budget.baseline),
            metric.value(compressed),
            limit,
        )
        allowed = f"allowed {metric.value(budget.tolerance)}"
        drop = metric.drop(compressed, standard_error)
        table.add_row(f"drop{part}", "", Uncertain(drop), allowed)
        if budget.required_confidence is not None and standard_error is not None:
            bound = budget.tolerance - budget.margin(compressed, standard_error)
            confidence = f"with {percent(budget.required_confidence)} confidence{part}"
            table.add_row(confidence, "", f"at most {metric.value(bound)}", allowed)
        counted_as = budget.in_samples(budget.tolerance)
        if counted_as is not None:
            samples = f"allowed {counted_as:.4g} samples"
            table.add_row(f"in samples{part}", "", metric.samples(compressed), samples)

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
