"""Benches on scripted training: trials of numbers alone, one after another or mixed up."""

from __future__ import annotations

import copy
import random
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from accaware.search.params import AdaptiveParams
from accaware.search.ports import TrainingCallbacks
from accaware.search.schedules.schedules import Baseline
from accaware.search.trial import Checkpoint
from accaware.search.trials.course import TrialCourse
from accaware.search.trials.order import Began, EpochDone, Report, TrialOrder, TrialProgress
from tests.runners.base import Optimizer
from tests.runners.fake import FakeController, FakeModel, FakeRunner, Script, adaptive


@dataclass(frozen=True)
class Training:
    """What training gives.

    Attributes:
        metric: by the achieved rate and the epochs of the trial.
        noise: at the most, drawn by the trial's number and the epoch.
        seconds: that an epoch takes.
    """

    metric: Script
    noise: float = 0.0
    seconds: float = 0.0
    layout: Callable[[float], float] = lambda rate: rate
    loss: Script = lambda rate, age: rate / (1 + age)


class FakeBench:
    """Its trials and their checkpoints are in ``kept`` and ``saved``, which may outlive it."""

    def __init__(
        self,
        training: Training,
        saved: dict[Checkpoint, Any] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self.model = FakeModel()
        self.trial = self.epochs = 0
        self._training = training
        self.controller = FakeController(self.model, schedule=Baseline(0.5), layout=training.layout)
        callbacks = TrainingCallbacks(
            train_epoch_fn=self._train,
            validate_fn=self._validate,
            configure_optimizers_fn=lambda: Optimizer(1.0),
        )
        self.runner = FakeRunner(self.model, self.controller, callbacks)
        self.runner.saved = {} if saved is None else saved
        self.kept: dict[int, tuple[TrialOrder, TrialProgress, Any]] = {}

    def _train(self, controller: Any, model: FakeModel, **_: Any) -> float | None:
        self.epochs += 1
        time.sleep(self._training.seconds)
        self._check()
        vars(model)["trial"] = self.trial
        return self._training.loss(model.rate, model.age)

    def _validate(self, model: FakeModel, epoch: int) -> float:
        # A model knows which trial it was trained in, as its weights would.
        chance = random.Random(1000 * vars(model).get("trial", 0) + model.age)
        metric = self._training.metric(model.rate, model.age)
        return metric + self._training.noise * chance.uniform(-1, 1)

    def reset(self, trial: int) -> None:
        self.trial = trial
        vars(self.model).update(vars(FakeModel()))

    def resume(self, order: TrialOrder) -> TrialProgress | None:
        known, progress, state = self.kept.get(order.number, (None, None, None))
        if known != order:
            return None
        self.trial = order.number
        vars(self.model).update(copy.deepcopy(state))
        self.runner.optimizer = Optimizer(order.lr_factor)
        return progress

    def keep(self, order: TrialOrder, progress: TrialProgress) -> None:
        self.kept[order.number] = (order, progress, copy.deepcopy(vars(self.model)))

    def forget(self, trial: int) -> None:
        self.kept.pop(trial, None)

    # For Ray's workers -------------------------------------------------------------------

    def packed(self, checkpoint: Checkpoint) -> Any:
        return checkpoint, copy.deepcopy(self.runner.saved[checkpoint])

    def unpack(self, parcel: Any) -> None:
        checkpoint, state = parcel
        self.runner.saved[checkpoint] = state

    def packed_trial(self, order: TrialOrder, sent: Set[str] = frozenset()) -> FakeParcel | None:
        known, progress, state = self.kept.get(order.number, (None, None, None))
        if known != order or progress is None:
            return None
        best = order.record(progress.compression_rate, progress.epochs).checkpoint
        weights = None if best is None else self.runner.saved.get(best)
        return FakeParcel(progress, state, best, weights)

    def unpack_trial(self, order: TrialOrder, parcel: FakeParcel) -> None:
        self.leave(order.number)
        self.kept[order.number] = (order, parcel.progress, parcel.state)
        if parcel.best is not None:
            self.runner.saved[parcel.best] = parcel.weights

    def leave(self, trial: int) -> None:
        if trial in self.kept:
            order, progress, _ = self.kept[trial]
            best = order.record(progress.compression_rate, progress.epochs).checkpoint
            if best is not None:
                self.runner.saved.pop(best, None)


@dataclass(frozen=True)
class FakeParcel:
    progress: TrialProgress
    state: Any
    best: Checkpoint | None
    weights: Any

    @property
    def name(self) -> str:
        return str(len(self.progress.epochs))

    @property
    def files(self) -> frozenset[str]:
        return frozenset()


@dataclass
class MixedUpExecutor:
    """Trials all at once, each on a bench of its own; chance says whose next report comes.

    Attributes:
        deaths: how often at the most a trial is begun anew, or gone on with where it was kept.
        saved: checkpoints, which all benches share.
    """

    training: Training
    chance: random.Random
    saved: dict[Checkpoint, Any]
    deaths: int = 0
    _reports: dict[int, deque[Report]] = field(default_factory=dict)
    _courses: dict[int, TrialCourse] = field(default_factory=dict)

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        for order in orders:
            bench = FakeBench(self.training, self.saved)
            reports: deque[Report] = deque()
            for life in reversed(range(self.chance.randint(0, self.deaths) + 1)):
                course = self._courses[order.number] = TrialCourse(order, bench, lambda: 0.0)
                lived = list(course.reports())
                if not life:
                    reports.extend(lived)
                    break
                dies_at = self.chance.randrange(len(lived))
                reports.extend(lived[:dies_at])
                if not any(isinstance(report, EpochDone) for report in lived[:dies_at]):
                    bench.forget(order.number)
                else:
                    self._cut(bench, order, lived[:dies_at])
            self._reports[order.number] = reports

    def _cut(self, bench: FakeBench, order: TrialOrder, lived: Sequence[Report]) -> None:
        """Only its first epoch was kept, and what was trained behind it is trained again."""
        fresh = FakeBench(self.training, self.saved)
        for report in TrialCourse(order, fresh, lambda: 0.0).reports():
            if isinstance(report, EpochDone):
                break
        bench.kept = fresh.kept

    def next(self) -> Report | None:
        waiting = [number for number, reports in self._reports.items() if reports]
        if not waiting or self.chance.random() < 0.2:
            return None
        report = self._reports[self.chance.choice(waiting)].popleft()
        if isinstance(report, Began):
            return Began(report.trial, report.compression_rate, f"worker {report.trial % 2}")
        return report

    def cancel(self, trial: int) -> None:
        self._reports.pop(trial)
        self._courses[trial].leave()

    def forget(self, trials: Sequence[int]) -> None:
        assert set(trials) == self._courses.keys()
        assert not any(self._reports.values())
        self._reports.clear()
        self._courses.clear()

    def rewind(self) -> None: ...

    def close(self) -> None: ...


def several(count: int, **changes: Any) -> AdaptiveParams:
    """A ramp, and then so many trials at a time."""
    return adaptive(
        **{
            "strategy": "ramp",
            "initial_training_phase_epochs": 0,
            "patience_epochs": 6,
            "parallel_trials": count,
            **changes,
        }
    )
