"""Fake searches on a disk that survives them: they die where they are told to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accaware.search import SearchResult
from accaware.search.events import Event
from accaware.search.params import SearchParams
from accaware.search.ports import TrainingCallbacks
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import SNAPSHOT, ResumableSearch
from accaware.search.schedules.schedules import Baseline, Schedule
from accaware.search.trial import Checkpoint
from accaware.search.trials.in_process import InProcessExecutor
from accaware.search.trials.order import TrialOrder, TrialProgress
from tests.runners.base import Config, Optimizer
from tests.runners.fake import FakeController, FakeModel, FakeRunner, Recorder, Script


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Disk:
    """What a process leaves behind."""

    journal: list[tuple[str, Any]] = field(default_factory=list)
    checkpoints: dict[Checkpoint, Any] = field(default_factory=dict)
    snapshots: dict[str, Any] = field(default_factory=dict)
    trials: dict[int, Any] = field(default_factory=dict)

    def recorded(self) -> list[tuple[str, Any]]:
        """The journal, cut off behind the last snapshot that is there; the rest is lost."""
        marks = [
            at
            for at, (call, answer) in enumerate(self.journal)
            if call == SNAPSHOT and answer["name"] in self.snapshots
        ]
        del self.journal[marks[-1] + 1 if marks else 0 :]
        return list(self.journal)


class Fate:
    """Counts the moments of a process, and ends it at one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.moments = 0
        self._last = last

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self._last:
            raise Killed


class MortalRunner(FakeRunner):
    """Its checkpoints are on the disk; it may die before and after everything it does."""

    def __init__(
        self,
        model: FakeModel,
        controller: Any,
        callbacks: TrainingCallbacks,
        disk: Disk,
        fate: Fate,
    ) -> None:
        super().__init__(model, controller, callbacks)
        self.saved = disk.checkpoints
        for name in (
            "start",
            "train_epoch",
            "validate",
            "confirm",
            "end_epoch",
            "asks_to_stop",
            "save",
            "load",
        ):
            setattr(self, name, _mortal(getattr(self, name), fate))
        self._fate = fate

    def discard(self, checkpoint: Checkpoint) -> None:
        self._fate.moment()
        self.saved.pop(checkpoint, None)
        self._fate.moment()


class MortalSnapshots:
    def __init__(self, runner: FakeRunner, disk: Disk, fate: Fate) -> None:
        self._runner = runner
        self._disk = disk
        self._fate = fate

    def save(self, name: str) -> dict[str, str]:
        self._fate.moment()
        optimizer = self._runner.optimizer
        schedule = self._runner.controller.scheduler.state_dict()
        rates = optimizer and (optimizer.learning_rate, optimizer.share)
        state = self._runner.state(), schedule, rates
        self._disk.snapshots[name] = copy.deepcopy(state)
        self._fate.moment()
        return {name: "digest"}

    def load(self, name: str, digests: Mapping[str, str]) -> None:
        model, schedule, rates = copy.deepcopy(self._disk.snapshots[name])
        self._runner.restore(model)
        self._runner.controller.scheduler.load_state_dict(schedule)
        self._runner.optimizer = rates and Optimizer(*rates)

    def discard(self, name: str) -> None:
        self._fate.moment()
        self._disk.snapshots.pop(name, None)
        self._fate.moment()


class MortalBench:
    """Trials of which each epoch is kept on the disk; it may die before and after it is."""

    def __init__(self, runner: FakeRunner, disk: Disk, fate: Fate) -> None:
        self.runner = runner
        self.controller = runner.controller
        self._disk = disk
        self._fate = fate

    def reset(self, trial: int) -> None:
        vars(self.runner.model).update(vars(FakeModel()))

    def resume(self, order: TrialOrder) -> TrialProgress | None:
        known, progress, state, rates = self._disk.trials.get(order.number, (None,) * 4)
        if known != order:
            return None
        self.runner.restore(copy.deepcopy(state))
        self.runner.optimizer = rates and Optimizer(*rates)
        return TrialProgress.from_dict(progress)

    def keep(self, order: TrialOrder, progress: TrialProgress) -> None:
        self._fate.moment()
        optimizer = self.runner.optimizer
        rates = optimizer and (optimizer.learning_rate, optimizer.share)
        state = copy.deepcopy(self.runner.state())
        self._disk.trials[order.number] = order, progress.to_dict(), state, rates
        self._fate.moment()

    def forget(self, trial: int) -> None:
        self._fate.moment()
        self._disk.trials.pop(trial, None)
        self._fate.moment()


@dataclass(frozen=True)
class World:
    """All that a search is about."""

    metric: Script
    params: SearchParams
    schedule: Schedule = field(default_factory=lambda: Baseline(0.5))
    layout: Callable[[float], float] = lambda rate: rate
    maximal: float = 1.0
    baseline: float = 1.0
    loss: Script = lambda rate, age: rate / (1 + age)
    stop: Callable[[float], bool] | None = None
    confirmation: Script | None = None


@dataclass
class Life:
    """One process: what became of the model, and what it told and did."""

    result: SearchResult
    model: FakeModel
    runner: MortalRunner
    recorder: Recorder


def live(world: World, disk: Disk, fate: Fate | None = None) -> Life:
    """Search, or go on with the search that is on the disk.

    Raises:
        Killed: as fate has it.
    """
    fate = fate or Fate()
    model = FakeModel()
    controller = FakeController(
        model, schedule=world.schedule, layout=world.layout, maximal=world.maximal
    )
    kept_back = world.confirmation
    callbacks = TrainingCallbacks(
        train_epoch_fn=lambda controller, model, **_: world.loss(model.rate, model.age),
        validate_fn=lambda model, epoch: world.metric(model.rate, model.age),
        configure_optimizers_fn=lambda: Optimizer(1.0),
        early_stopping_fn=world.stop,
        confirm_fn=None if kept_back is None else lambda model, epoch: kept_back(model.rate, 0),
    )
    runner = MortalRunner(model, controller, callbacks, disk, fate)
    runner.references.validation.take(world.baseline)

    def record(call: str, answer: Any) -> None:
        fate.moment()
        disk.journal.append((call, copy.deepcopy(answer)))
        fate.moment()

    recorder = Recorder()
    executor = None
    if world.params.parallel_trials > 1:
        executor = InProcessExecutor(MortalBench(runner, disk, fate))
    search = ResumableSearch(
        Config(world.params),
        controller,
        runner,
        world.baseline,
        confirmation_baseline=None if kept_back is None else world.baseline,
        replay=Replay(disk.recorded(), record),
        snapshots=MortalSnapshots(runner, disk, fate),
        observers=[_Telling(fate), recorder],
        executor=executor,
    )
    return Life(search.run(), model, runner, recorder)


class _Telling:
    def __init__(self, fate: Fate) -> None:
        self._fate = fate

    def notify(self, event: Event) -> None:
        self._fate.moment()


def _mortal(function: Callable[..., Any], fate: Fate) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        fate.moment()
        answer = function(*arguments)
        fate.moment()
        return answer

    return call
