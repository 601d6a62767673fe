"""Progress for a terminal: the table of trials, and a bar for the epoch at hand."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from accaware.report.formatting import NOTHING, MetricText, percent
from accaware.report.progress.epoch_bar import EpochBar
from accaware.report.progress.line_progress import confirmation_line, search_header
from accaware.report.progress.trial_row import STOPPED, TrialRow
from accaware.search.events import (
    BatchFinished,
    ConfirmationFinished,
    EpochFinished,
    EpochStarted,
    Event,
    GenerationFinished,
    RankingStarted,
    SearchStarted,
    TrialFinished,
    TrialStarted,
    Waited,
)

FURNITURE = 5
"""Screen lines beside the rows: head, rule, what is hidden, the bar, and one to spare."""


class LiveProgress:
    """Redraws itself a few times a second from entering to leaving; then the table stays."""

    def __init__(self, console: Console, metric_name: str) -> None:
        self._console = console
        self._name = metric_name
        self._metric: MetricText | None = None
        self._rows: dict[int, TrialRow] = {}
        self._bar = EpochBar(console)
        self._changes = 0
        self._drawn: tuple[tuple[ConsoleDimensions, int], Segments] | None = None
        self._live = Live(
            get_renderable=self.screen, console=console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What was drawn live is cut to the screen's height and vanishes; the whole table stays.
        self._live.stop()
        self._rows = {
            number: row.ended(STOPPED) if row.running else row for number, row in self._rows.items()
        }
        if self._rows:
            self._console.print(self.table())

    def notify(self, event: Event) -> None:
        """Draw what an event changes, or print what is to stay."""
        self._bar.time_left.notify(event)
        if isinstance(event, BatchFinished):
            self._bar.batch(event)
            return
        if isinstance(event, Waited):
            return
        if isinstance(event, SearchStarted):
            self._metric = MetricText(event.budget)
            self._bar.goes_on_with("")
            self._console.print(Text(search_header(event, self._name)))
        elif isinstance(event, RankingStarted):
            self._bar.goes_on_with(f"ranking, candidate 1/{event.generations}: ")
        elif isinstance(event, GenerationFinished):
            self._bar.goes_on_with(_next_candidate(event))
        elif isinstance(event, TrialStarted):
            before = self._rows.get(event.number)
            self._rows[event.number] = (
                TrialRow.opened(event) if before is None else before.on(event.worker)
            )
            self._bar.goes_on_with(f"trial {event.number}, ", event.number)
        elif isinstance(event, EpochStarted):
            row = self._rows[event.trial]
            epoch = f"epoch {row.epochs + 1}/{row.planned_epochs}"
            self._bar.goes_on_with(f"trial {row.number}, {epoch}: ", row.number)
        elif isinstance(event, EpochFinished) and self._metric:
            row = self._rows[event.trial].with_epoch(event.epoch, self._metric.budget)
            self._rows[event.trial] = row
        elif isinstance(event, ConfirmationFinished):
            self._console.print(Text(confirmation_line(event, self._name)))
        elif isinstance(event, TrialFinished):
            row = self._rows[event.trial.number]
            self._rows[event.trial.number] = row.closed(event.trial)
            self._bar.goes_on_with("")
        elsewhere = [row for row in self._rows.values() if row.running and row.worker is not None]
        if elsewhere:
            self._bar.epochs(elsewhere)
        self._changes += 1

    def table(self, rows: int | None = None) -> Table:
        """The trials so far; the latest ``rows`` of them, or all."""
        # The padding makes it fit into 80 columns.
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        sparsity = ("sparsity",) if self._tells_sparsity else ()
        metric = (self._name, "drop", "margin")
        worker = ("worker",) if self._tells_worker else ()
        for heading in ("trial", *worker, "target", "rate", *sparsity, "epochs", *metric):
            table.add_column(Text(heading), justify="right", no_wrap=True)
        # A long verdict would wrap and push the bar off the screen; in the end it may.
        table.add_column("verdict", no_wrap=rows is not None)
        hidden = 0 if rows is None else max(len(self._rows) - rows, 0)
        # A restart may have begun them in another order.
        for _, row in sorted(self._rows.items())[hidden:]:
            self._add(table, row)
        if hidden:
            table.caption = f"{hidden} earlier not shown"
            table.caption_justify = "left"
        return table

    def _add(self, table: Table, row: TrialRow) -> None:
        if self._metric is None:
            return
        sparsity = NOTHING if row.model_sparsity is None else percent(row.model_sparsity)
        table.add_row(
            str(row.number),
            *((row.worker or NOTHING,) if self._tells_worker else ()),
            percent(row.target_rate),
            percent(row.rate),
            *((sparsity,) if self._tells_sparsity else ()),
            f"{row.epochs}/{row.planned_epochs}" if row.running else str(row.epochs),
            self._metric.value(row.metric),
            self._metric.drop(row.metric),
            self._metric.margin(row.metric, row.standard_error),
            Text(row.verdict.words, style=row.verdict.style),
        )

    @property
    def _tells_sparsity(self) -> bool:
        """Whether the algorithm makes zeros: then their share in the whole model has a column."""
        return any(row.model_sparsity is not None for row in self._rows.values())

    @property
    def _tells_worker(self) -> bool:
        """Whether trials are run elsewhere: then who runs each has a column."""
        return any(row.worker is not None for row in self._rows.values())

    def screen(self) -> RenderableType:
        """What is drawn while it runs: as many trials as fit, and the bar."""
        if not self._rows:
            return self._bar.renderable
        # Laying a table out takes milliseconds that its user's training is better given. This
        # is called from a thread of rich's: a change that comes in meanwhile counts as not drawn.
        state = self._console.size, self._changes
        drawn = self._drawn
        if drawn is None or drawn[0] != state:
            table = self.table(max(self._console.height - FURNITURE, 1))
            drawn = self._drawn = state, Segments(list(self._console.render(table)))
        return Group(drawn[1], self._bar.renderable)


def _next_candidate(event: GenerationFinished) -> str:
    if event.number == event.generations:
        return ""
    best = "" if event.best is None else f" (best {event.best:.4g})"
    return f"ranking, candidate {event.number + 1}/{event.generations}{best}: "
