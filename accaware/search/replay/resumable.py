"""A search that can be stopped anywhere and gone on with, by a recording and snapshots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from accaware.errors import UnkeepableError, UsageError
from accaware.search.events import EpochFinished, Event, RoundFinished, TrialFinished
from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.metric import BaselineMetric
from accaware.search.params import SearchParams, revived
from accaware.search.ports import CompressionController, Observer, Runner, SearchConfig, Snapshots
from accaware.search.replay.replay import Replay
from accaware.search.replay.replayed_controller import ReplayedController
from accaware.search.replay.replayed_executor import ReplayedExecutor
from accaware.search.replay.replayed_runner import ReplayedRunner
from accaware.search.result import SearchResult
from accaware.search.trial import Checkpoint, Epoch
from accaware.search.trials.executor import TrialExecutor

SNAPSHOT = "snapshot"
"""The recorded answer that is a snapshot's mark: {"name", "digests"}."""

KEPT_SNAPSHOTS = 2
"""The last one, and the one before it for when the last one can't be read."""


class ResumableSearch:
    """Drives a loop whose every answer is recorded, with a snapshot after each epoch or round.

    Where there are recorded answers, they must end with a snapshot's mark: the search is replayed
    up to it, the snapshot is loaded, and it goes on live.

    Args:
        config: where it differs from the recorded parameters, it holds from the last snapshot on.
        baseline: the dense model's metric.
        confirmation_baseline: the same on the data that confirm the final model, if there are
            such.
        observers: told of every event, of the replayed ones too.
        warn: told, once, where this run can't be gone on with.
        executor: runs the trials where the config has ``parallel_trials``; then there is a
            snapshot after each round, and the executor knows of the trials of the one at hand.
    """

    def __init__(
        self,
        config: SearchConfig,
        controller: CompressionController,
        runner: Runner,
        baseline: float | BaselineMetric,
        *,
        confirmation_baseline: float | BaselineMetric | None = None,
        replay: Replay,
        snapshots: Snapshots,
        observers: Iterable[Observer] = (),
        warn: Callable[[str], None] = lambda message: None,
        executor: TrialExecutor | None = None,
    ) -> None:
        self._replay = replay
        self._parallel = executor is not None
        self._snapshots = snapshots
        self._observers = tuple(observers)
        self._warn = warn
        self._wanted_params = config.accuracy_aware_training
        self._runner = ReplayedRunner(runner, replay)
        self._taken: list[tuple[str, frozenset[Checkpoint]]] = []
        self._keeps = True
        self._params = self._recorded_params(self._wanted_params)
        if self._params.confirmation != self._wanted_params.confirmation:
            raise UsageError(
                "confirmation can't be changed while a search goes on: its trials were judged by "
                "data that would have to be unseen, or the other way round"
            )
        if (self._params.parallel_trials > 1) != self._parallel:
            raise UsageError(
                "parallel_trials can't be raised from 1 or lowered to it while a search goes on: "
                "trials that run side by side have random numbers of their own"
            )
        self._loop = create_accuracy_aware_training_loop(
            _Config(self._params, config.higher_is_better),
            ReplayedController(controller, replay),
            baseline,
            confirmation_baseline=confirmation_baseline,
            observers=[self],
            clock=lambda: replay.answer("clock", time.perf_counter),
            executor=None if executor is None else ReplayedExecutor(executor, replay),
        )

    @property
    def result(self) -> SearchResult:
        """What was found so far; see the loop's own."""
        return self._loop.result

    def run(self) -> SearchResult:
        """Search, or go on with it; the runner holds the best model afterwards."""
        return self._loop.drive(self._runner)

    def load(self, checkpoint: Checkpoint) -> None:
        """Bring back weights that the result names."""
        self._runner.load(checkpoint)

    def notify(self, event: Event) -> None:
        """Keep the state after an epoch, then pass the event on to the observers."""
        # The snapshot comes first: where an observer ends the run, this epoch is not lost.
        if self._parallel:
            if isinstance(event, TrialFinished) and event.trial.checkpoint is not None:
                self._runner.note(event.trial.checkpoint)
            if isinstance(event, RoundFinished) and self._keeps:
                self._keep_state(event.trials[-1])
        elif isinstance(event, EpochFinished) and _sound(event.epoch) and self._keeps:
            self._keep_state(event.epoch.number)
        for observer in self._observers:
            observer.notify(event)

    def _keep_state(self, number: int) -> None:
        """Keep the state behind an epoch, or behind the last trial of a round."""
        name = f"snapshot-{number}"
        replayed = self._replay.replaying
        try:
            mark = self._replay.answer(SNAPSHOT, lambda: self._take(name))
        except UnkeepableError as error:
            self._keeps = False
            self._warn(f"if this run is interrupted it will have to start over: {error}")
            return
        self._taken.append((mark["name"], self._runner.wanted))
        if self._replay.replaying:
            if self._replay.next_call == "params":
                self._adopt(self._recorded_params(self._params))
            return
        if replayed:
            self._snapshots.load(mark["name"], mark["digests"])
            if self._params != self._wanted_params:
                self._adopt(self._recorded_params(self._wanted_params))
        for old, _ in self._taken[:-KEPT_SNAPSHOTS]:
            self._snapshots.discard(old)
        self._taken = self._taken[-KEPT_SNAPSHOTS:]
        self._runner.sweep(frozenset().union(*(wanted for _, wanted in self._taken)))

    def _take(self, name: str) -> dict[str, Any]:
        return {"name": name, "digests": dict(self._snapshots.save(name))}

    def _recorded_params(self, params: SearchParams) -> SearchParams:
        content: dict[str, Any] = self._replay.answer("params", lambda: asdict(params))
        return revived(content)

    def _adopt(self, params: SearchParams) -> None:
        self._params = params
        self._loop.adopt(params)


@dataclass(frozen=True)
class _Config:
    """The part of a config that a loop reads."""

    accuracy_aware_training: SearchParams
    higher_is_better: bool


def _sound(epoch: Epoch) -> bool:
    """Whether its numbers are. From behind a NaN, nobody could try again with a mended plugin."""
    return all(value is None or math.isfinite(value) for value in (epoch.loss, epoch.metric))
