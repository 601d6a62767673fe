"""Progress for logs: one line a finished epoch, one a finished trial."""

from __future__ import annotations

from types import TracebackType
from typing import IO, Self

from accaware.report.formatting import NOTHING, MetricText, counted, duration, percent, rate
from accaware.report.progress.trial_row import TrialRow
from accaware.search.events import (
    ConfirmationFinished,
    EpochFinished,
    Event,
    GenerationFinished,
    RankingStarted,
    RateKnown,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.trial import Epoch, Trial

RANKING_LINES = 20
"""Of a learned ranking, however many candidates it has."""


class LineProgress:
    """Lines start with a word for grep.

    It is ``baseline``, ``ranking``, ``epoch``, ``trial``, ``rate`` or ``confirmation``.
    """

    def __init__(self, stream: IO[str], metric_name: str) -> None:
        self._stream = stream
        self._name = metric_name
        self._metric: MetricText | None = None
        self._rows: dict[int, TrialRow] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.clear()

    def notify(self, event: Event) -> None:
        """Print a line for an event that is worth one."""
        if isinstance(event, SearchStarted):
            self._metric = MetricText(event.budget)
            self._print(search_header(event, self._name))
        elif isinstance(event, RankingStarted):
            self._print(f"ranking: to be learned from {counted(event.generations, 'candidate')}")
        elif isinstance(event, GenerationFinished) and _is_due(event):
            best = NOTHING if event.best is None else f"{event.best:.4g}"
            done = f"candidate {event.number}/{event.generations}"
            self._print(f"ranking: {done}, best {self._name} {best}")
        elif isinstance(event, TrialStarted):
            before = self._rows.get(event.number)
            self._rows[event.number] = (
                TrialRow.opened(event) if before is None else before.on(event.worker)
            )
        elif isinstance(event, EpochFinished) and event.trial in self._rows and self._metric:
            row = self._rows[event.trial].with_epoch(event.epoch, self._metric.budget)
            self._rows[event.trial] = row
            self._print(self._epoch(event.epoch, row, self._metric))
        elif isinstance(event, TrialFinished) and self._metric:
            if event.trial.number in self._rows:
                row = self._rows.pop(event.trial.number).closed(event.trial)
                self._print(self._trial(event.trial, row, self._metric))
        elif isinstance(event, ConfirmationFinished):
            self._print(confirmation_line(event, self._name))
        elif isinstance(event, RateKnown):
            by = "the untouched model" if event.trial is None else f"trial {event.trial}"
            self._print(f"rate {percent(event.target_rate)}: already answered by {by}")

    def _epoch(self, epoch: Epoch, row: TrialRow, metric: MetricText) -> str:
        loss = NOTHING if epoch.loss is None else f"{epoch.loss:.4g}"
        return (
            f"epoch {row.epochs}/{row.planned_epochs} of trial {row.number}: "
            f"{rate(epoch.compression_rate, epoch.model_sparsity)}, loss {loss}, "
            f"{self._name} {metric.value(epoch.metric)}, {duration(epoch.seconds)}"
            + ("" if row.worker is None else f", on {row.worker}")
        )

    def _trial(self, trial: Trial, row: TrialRow, metric: MetricText) -> str:
        return (
            f"trial {row.number}: target {percent(row.target_rate)}, "
            f"{rate(row.rate, row.model_sparsity)}, "
            f"{counted(row.epochs, 'epoch')}, {self._name} {metric.value(trial.metric)}, "
            f"drop {metric.drop(trial.metric)}, "
            f"margin {metric.margin(trial.metric, trial.standard_error)}, "
            f"{row.verdict.words}"
        )

    def _print(self, line: str) -> None:
        # A log that is followed must not wait for a buffer to fill.
        print(line, file=self._stream, flush=True)


def _is_due(event: GenerationFinished) -> bool:
    number, total = event.number, event.generations
    # A line each time another twentieth is done, the last one included.
    return number * RANKING_LINES // total > (number - 1) * RANKING_LINES // total


def confirmation_line(event: ConfirmationFinished, metric_name: str) -> str:
    """What became of a model on the data that no trial is judged by."""
    confirmed, metric = event.confirmed, MetricText(event.budget)
    verdict = "within budget" if confirmed.within_budget else "not confirmed"
    return (
        f"confirmation of trial {confirmed.trial}: {metric_name} {metric.value(confirmed.metric)}, "
        f"drop {metric.drop(confirmed.metric)}, "
        f"margin {metric.margin(confirmed.metric, confirmed.standard_error)}, {verdict}"
    )


def search_header(event: SearchStarted, metric_name: str) -> str:
    """The numbers that every trial is held against."""
    budget = event.budget
    metric = MetricText(budget)
    worst = "at least" if budget.higher_is_better else "at most"
    return (
        f"baseline: {metric_name} {metric.value(budget.baseline)}; "
        f"within budget is {worst} {metric.value(budget.minimal_tolerable)}; "
        f"rates up to {percent(event.maximal_rate)}; "
        f"at most {counted(event.most_epochs, 'epoch')}"
    )
