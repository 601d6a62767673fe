"""The last word: the dense model against the compressed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from accaware.report.cells import Uncertain
from accaware.report.formatting import PLUS_MINUS, counted, duration
from accaware.report.tables import export_table, quantizer_table
from accaware.report.verdict import confirmation_lines, verdict_rows
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
        parts: list[RenderableType] = [Text(), self._verdict(), *map(Text, self._refused())]
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

    def _refused(self) -> list[str]:
        return confirmation_lines(self.result.best, self.result.confirmation)

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
        rows = verdict_rows(
            best,
            self.result.budget,
            self.metric_name,
            confirmation=self.result.confirmation,
            model=self.model,
        )
        for row in rows:
            uncertain = PLUS_MINUS in row.compressed
            compressed = Uncertain(row.compressed) if uncertain else row.compressed
            table.add_row(Text(row.name), row.dense, compressed, row.note)
        return table
