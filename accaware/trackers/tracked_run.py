"""A run as trackers show it: its numbers and those of its trials, made of its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from accaware.results import strict_json
from accaware.results.sizes import Size
from accaware.rundir.result_file import ResultFile
from accaware.rundir.run_status import RunState
from accaware.search.budget import AccuracyBudget
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    FiltersKnown,
    LearningRateKnown,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.trial import Epoch, Trial


class Point(NamedTuple):
    """A number, and when it came about, in seconds since 1970."""

    value: float
    time: float


Points = dict[tuple[str, int], Point]
"""By name and step; each is told once, and stays what it was."""


@dataclass(kw_only=True)
class TrackedTrial:
    """A trial so far.

    Attributes:
        params: what was asked of it.
        points: by the numbers of its epochs.
        verdict: None while it is under way.
    """

    number: int
    began: float
    params: Mapping[str, str | float]
    points: Points = field(default_factory=dict)
    verdict: Trial | None = None
    ended: float | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"trial {self.number}"


class TrackedRun:
    """All that there is to show of a run so far.

    It is told the same event twice when a run is resumed, by the journal and by the search that is
    led to where it was: what was known stays.

    Args:
        name: of the run's directory.
        config: resolved.

    Attributes:
        points: of the run: of epochs by their numbers, of trials by theirs.
        trials: by their numbers.
        filters: of each layer, from an epoch on, and when that was known.
        budget: None before the search began.
        state: as the process left it; running until then.
        outcome: of a run that has finished; None of any other.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name = name
        self.config = config
        self.points: Points = {}
        self.filters: dict[int, tuple[Mapping[str, int], float]] = {}
        self.trials: dict[int, TrackedTrial] = {}
        self.budget: AccuracyBudget | None = None
        self.began = self.last = 0.0
        self.state = RunState.RUNNING
        self.outcome: ResultFile | None = None
        params = config.get("accuracy_aware_training", {}).get("params", {})
        self._side_by_side = params.get("parallel_trials", 1) > 1
        self._epoch = 0, 0

    @property
    def params(self) -> dict[str, str]:
        """The config, flat, and the budget in the metric's units."""
        params = dict(flattened(self.config))
        if self.budget is not None:
            params["baseline"] = f"{self.budget.baseline:.8g}"
            params["minimal_tolerable"] = f"{self.budget.minimal_tolerable:.8g}"
        return params

    def take(self, event: Event, time: float) -> None:
        """Note what an event of that time says, where it is for trackers."""
        self.last = max(self.last, time)
        match event:
            case SearchStarted(budget):
                self.began = self.began or time
                self.budget = budget
                _note(self.points, 0, time, {"search/baseline": budget.baseline})
            case TrialStarted():
                self.trials.setdefault(event.number, _begun(event, time))
            case EpochStarted(trial, number):
                self._epoch = trial, number
            case LearningRateKnown(value):
                self._note_epoch(*self._epoch, time, {"train/learning_rate": value})
            case FiltersKnown(kept):
                self._note_filters(kept, time)
            case EpochFinished(trial, epoch):
                self._note_epoch(trial, epoch.number, time, _numbers(epoch))
            case TrialFinished(trial):
                self._finish(trial, time)

    def end(self, state: RunState, result: ResultFile | None) -> None:
        """The process is done with it, and this is how it stands."""
        self.state = state
        if state is RunState.FINISHED and result is not None:
            self.outcome = result
            _note(self.points, result.result.epochs, self.last, _outcome(result))

    def _note_epoch(
        self, trial: int, epoch: int, time: float, numbers: Mapping[str, float | None]
    ) -> None:
        if trial not in self.trials:
            return
        # Epochs of trials side by side have the same numbers, and nobody tells whose rate it is.
        if not self._side_by_side:
            _note(self.points, epoch, time, numbers)
        elif "train/learning_rate" in numbers:
            return
        _note(self.trials[trial].points, epoch, time, numbers)

    def _note_filters(self, kept: Mapping[str, int], time: float) -> None:
        # A process that goes on tells of what there was before.
        known = next(reversed(self.filters.values()), None)
        if not self._side_by_side and (known is None or known[0] != kept):
            self.filters[self._epoch[1]] = kept, time

    def _finish(self, trial: Trial, time: float) -> None:
        tracked = self.trials.get(trial.number)
        if tracked is None or tracked.verdict is not None:
            return
        tracked.verdict, tracked.ended = trial, time
        found = {
            "metric": trial.metric,
            "compression_rate": trial.compression_rate,
            "within_budget": float(trial.within_budget),
        }
        last = trial.epochs[-1].number if trial.epochs else 0
        _note(tracked.points, last, time, {f"trial/{name}": each for name, each in found.items()})
        searched = {f"search/{name}": each for name, each in found.items()}
        searched["search/target_rate"] = trial.target_rate
        _note(self.points, trial.number, time, searched)


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of JSON data as text, by keys with dots."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        yield path, value if isinstance(value, str) else strict_json.line(value)
        return
    for key, each in value.items():
        yield from flattened(each, f"{path}.{key}" if path else str(key))


def _begun(event: TrialStarted, time: float) -> TrackedTrial:
    params = {
        "phase": event.phase.value,
        "target_rate": event.target_rate,
        "lr_factor": event.lr_factor,
        "start": "the dense model" if event.start is None else f"trial {event.start}",
    }
    return TrackedTrial(number=event.number, began=time, params=params)


def _numbers(epoch: Epoch) -> dict[str, float | None]:
    return {
        "train/loss": epoch.loss,
        "validation/metric": epoch.metric,
        "compression/rate": epoch.compression_rate,
        "compression/model_sparsity": epoch.model_sparsity,
    }


def _outcome(result: ResultFile) -> dict[str, float | None]:
    """Of the model that is handed over, and of the dense one."""
    found: dict[str, float | None] = {"result/seconds": result.seconds}
    best, model = result.result.best, result.model
    if best is not None:
        found["result/metric"] = best.metric
        found["result/compression_rate"] = best.compression_rate
        found["result/drop"] = best.absolute_degradation
        found["result/within_budget"] = float(result.result.within_budget)
    if model is not None:
        sizes: dict[str, Size] = vars(model.sizes)
        for name, size in sizes.items():
            found[f"result/{name}"] = float(size.compressed)
            found[f"result/{name}_dense"] = float(size.dense)
        if model.latency is not None:
            found["result/latency_ms"] = 1000 * model.latency.compressed.median
            found["result/latency_ms_dense"] = 1000 * model.latency.dense.median
    return found


def _note(points: Points, step: int, time: float, numbers: Mapping[str, float | None]) -> None:
    for name, value in numbers.items():
        if value is not None:
            points.setdefault((name, step), Point(float(value), time))
