"""All that a run's directory tells of it, whether it has ended, goes on, or failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accaware.errors import UsageError
from accaware.results.benchmark import Benchmark
from accaware.results.comparison import ComparedRun
from accaware.results.from_json import structured
from accaware.results.inspection import Inspection
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_events import event_of
from accaware.rundir.journal_reader import read_journal
from accaware.rundir.manifest import Manifest
from accaware.rundir.result_file import ResultFile, read_result
from accaware.rundir.run_status import RunStatus, standing
from accaware.search.budget import AccuracyBudget
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    LearningRateKnown,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.result import Best
from accaware.search.trial import Epoch, Trial

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run's files, read.

    Attributes:
        status: whether it goes on, and its finished trials, with all of their epochs.
        at_hand: the epochs of each trial that it is at, or was at when it stopped.
        result: None before there is one.
        config: the resolved config; None where the run was killed before it was written.
        manifest: None where the run was killed before it was written.
        began, last: when the first and the last line of the journal were written (ISO 8601, UTC).
        maximal_rate: that the search may go to; None before it began.
        confirmation_budget: on the data that no trial is judged by; None where none are kept back.
        learning_rates: that epochs began with, by their numbers; of those that it is known of.
        left_out: layers that aren't compressed, each with the reason.
        warnings: that the search gave.
        benchmark, inspection: what the commands found out, where it was put beside the run as
            benchmark.json and inspection.json.
    """

    status: RunStatus
    at_hand: Mapping[int, tuple[Epoch, ...]]
    result: ResultFile | None
    config: Mapping[str, Any] | None
    manifest: Manifest | None
    began: str | None
    last: str | None
    maximal_rate: float | None
    confirmation_budget: AccuracyBudget | None
    learning_rates: Mapping[int, float]
    left_out: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    benchmark: Benchmark | None
    inspection: Inspection | None

    @property
    def path(self) -> Path:
        """Of the directory."""
        return self.status.directory

    @property
    def budget(self) -> AccuracyBudget | None:
        """What may be lost; None before the baseline was measured."""
        return self.status.budget

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The finished ones."""
        return self.status.trials

    @property
    def metric_name(self) -> str:
        """Of what validation measures."""
        if self.result is not None:
            return self.result.metric_name
        name: str = (self.config or {}).get("metric", {}).get("name", "metric")
        return name

    @property
    def best(self) -> Best | Trial | None:
        """What is handed over, or the best trial so far."""
        if self.result is not None and self.result.result.best is not None:
            return self.result.result.best
        return self.status.best

    @property
    def within_budget(self) -> bool | None:
        """Whether the best is; None where no trial was judged."""
        best, budget = self.best, self.budget
        if best is None or best.metric is None or budget is None:
            return None
        if self.result is not None and self.result.finished:
            return self.result.result.within_budget
        return budget.admits(best.metric, best.standard_error)

    def compared(self) -> ComparedRun:
        """What it is compared by with other runs."""
        best, budget = self.best, self.budget
        known: dict[str, Any] = {}
        if budget is not None:
            known["baseline"] = budget.baseline
            known["higher_is_better"] = budget.higher_is_better
            if best is not None and best.metric is not None:
                known["drop"] = budget.absolute_degradation(best.metric)
                known["relative_drop"] = budget.relative_degradation(best.metric)
        if best is not None:
            known["metric"] = best.metric
            known["standard_error"] = best.standard_error
            known["compression_rate"] = best.compression_rate
        if self.result is not None:
            known["seconds"] = self.result.seconds
            model = self.result.model
            if model is not None:
                sizes = model.sizes
                known["parameters"], known["flops"] = sizes.parameters, sizes.flops
                known["file_size"], known["latency"] = sizes.file_size, model.latency
        return ComparedRun(
            directory=str(self.path),
            state=self.status.state.value,
            within_budget=self.within_budget,
            metric_name=self.metric_name,
            trials=len(self.trials),
            epochs=self.status.epochs,
            **known,
        )


def read_run(directory: RunDirectory, *, ended: bool = False) -> RunRecord:
    """Read the files that are there; nothing is changed.

    Args:
        ended: it no longer runs, whoever holds its lock.

    Raises:
        JournalError: a line of the journal can't be read.
        UsageError: another file can't be read.
        OSError: likewise.
    """
    lines = read_journal(directory.events)
    told = [event for line in lines if (event := event_of(line)) is not None]
    started = next((one for one in reversed(told) if isinstance(one, SearchStarted)), None)
    run_started = next((one for one in reversed(lines) if one.event == "run_started"), None)
    left_out = () if run_started is None else run_started.content.get("left_out", ())
    return RunRecord(
        status=standing(directory, ended=ended),
        at_hand=_at_hand(told),
        result=read_result(directory.result),
        config=_json(directory.config),
        manifest=Manifest.read(directory.manifest) if directory.manifest.is_file() else None,
        began=lines[0].content.get("time") if lines else None,
        last=lines[-1].content.get("time") if lines else None,
        maximal_rate=None if started is None else started.maximal_rate,
        confirmation_budget=None if started is None else started.confirmation,
        learning_rates=_learning_rates(told),
        left_out=[(each["layer"], each["reason"]) for each in left_out],
        warnings=[line.content["message"] for line in lines if line.event == "warned"],
        benchmark=_found(directory.path / "benchmark.json", Benchmark),
        inspection=_found(directory.path / "inspection.json", Inspection),
    )


def _learning_rates(told: Iterable[Event]) -> dict[int, float]:
    """Not of trials that run side by side: no event tells which one's it is."""
    rates: dict[int, float] = {}
    epoch = 0
    begun: set[int] = set()
    for event in told:
        match event:
            case TrialStarted(number):
                begun.add(number)
            case TrialFinished(trial):
                begun.discard(trial.number)
            case EpochStarted(_, epoch):
                pass
            case LearningRateKnown(value) if len(begun) == 1:
                rates[epoch] = value
    return rates


def _at_hand(told: Iterable[Event]) -> dict[int, tuple[Epoch, ...]]:
    """By the trials' numbers; an epoch that was trained again counts once."""
    epochs: dict[int, dict[int, Epoch]] = {}
    for event in told:
        match event:
            case TrialStarted(number):
                epochs.setdefault(number, {})
            case EpochFinished(trial, epoch):
                epochs.setdefault(trial, {})[epoch.number] = epoch
            case TrialFinished(trial):
                epochs.pop(trial.number, None)
    return {number: tuple(epochs[number].values()) for number in sorted(epochs)}


def _json(path: Path) -> Any:
    """What a file holds; None where there is none.

    Raises:
        UsageError: it can't be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UsageError(f"{path}: can't be read: {error!r}") from error


def _found(path: Path, of: type[T]) -> T | None:
    content = _json(path)
    try:
        return None if content is None else structured(of, content)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: can't be read: {error!r}") from error
