"""A scripted runner: metrics and losses are functions, nothing is trained, all is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from accaware.search import (
    AdaptiveCompressionTrainingLoop,
    AdaptiveParams,
    EarlyExitCompressionTrainingLoop,
    SearchResult,
    create_accuracy_aware_training_loop,
)
from accaware.search.events import Event, RateKnown, TrialStarted
from accaware.search.metric import DenseReference, DenseReferences, Measurement
from accaware.search.params import EarlyExitParams, SearchParams
from accaware.search.ports import TrainingCallbacks
from accaware.search.schedules.scheduler import CompressionScheduler
from accaware.search.schedules.schedules import Baseline, Schedule
from accaware.search.trial import Checkpoint
from tests.runners.base import CallbackRunner, Case, Config, Optimizer

E = TypeVar("E")

Script = Callable[[float, int], float | None]
"""(achieved rate, epochs trained since the last fresh optimizer) -> a metric or a loss."""


@dataclass
class FakeModel:
    """``lineage`` tells the rates that its weights were trained at, in order."""

    rate: float = 0.0
    age: int = 0
    lineage: tuple[float, ...] = ()


class FakeController:
    """Achieves what is asked, or what ``layout`` makes of it."""

    def __init__(
        self,
        model: FakeModel,
        *,
        schedule: Schedule,
        layout: Callable[[float], float] = lambda rate: rate,
        maximal: float = 1.0,
    ) -> None:
        self._model = model
        self._layout = layout
        self._maximal = maximal
        self.asked: list[float] = []
        self.scheduler = CompressionScheduler(schedule, self._put)

    def _put(self, rate: float) -> None:
        self.asked.append(rate)
        self._model.rate = self._layout(min(rate, self._maximal))

    @property
    def compression_rate(self) -> float:
        return self._model.rate

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        self._put(target)

    model_sparsity: float | None = None

    @property
    def maximal_compression_rate(self) -> float:
        return self._maximal

    def create_runner(
        self,
        model: FakeModel,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> FakeRunner:
        return FakeRunner(model, self, callbacks, references)


class FakeRunner(CallbackRunner):
    """Records each call as a tuple of its name and arguments, in ``calls``."""

    def __init__(
        self,
        model: FakeModel,
        controller: Any,
        callbacks: TrainingCallbacks,
        references: DenseReferences | None = None,
    ) -> None:
        super().__init__(model, controller, callbacks, references)
        self.calls: list[tuple[Any, ...]] = []

    def state(self) -> dict[str, Any]:
        return vars(self.model)

    def restore(self, state: dict[str, Any]) -> None:
        vars(self.model).update(state)

    def start(self, lr_factor: float) -> None:
        self.calls.append(("start", lr_factor))
        self.model.age = 0
        super().start(lr_factor)

    def train_epoch(self, epoch: int) -> float | None:
        self.calls.append(("train", epoch, self.model.rate))
        self.model.age += 1
        if self.model.lineage[-1:] != (self.model.rate,):
            self.model.lineage = (*self.model.lineage, self.model.rate)
        return super().train_epoch(epoch)

    def validate(self, epoch: int) -> Measurement:
        self.calls.append(("validate", epoch, self.model.rate))
        return super().validate(epoch)

    def confirm(self, epoch: int) -> Measurement:
        self.calls.append(("confirm", epoch, self.model.rate))
        return super().confirm(epoch)

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        self.calls.append(("end_epoch", epoch, loss, metric))
        super().end_epoch(epoch, loss, metric)

    def save(self, name: str) -> Checkpoint:
        self.calls.append(("save", name))
        return super().save(name)

    def load(self, checkpoint: Checkpoint) -> None:
        self.calls.append(("load", str(checkpoint)))
        super().load(checkpoint)

    def discard(self, checkpoint: Checkpoint) -> None:
        self.calls.append(("discard", str(checkpoint)))
        super().discard(checkpoint)


class Recorder:
    """Keeps the events that it is told of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Search:
    """A search over a script, ready to be run or already run."""

    loop: AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop
    runner: FakeRunner
    controller: FakeController
    model: FakeModel
    recorder: Recorder = field(default_factory=Recorder)

    def run(self) -> Search:
        self.loop.drive(self.runner)
        return self

    @property
    def result(self) -> SearchResult:
        return self.loop.result

    @property
    def targets(self) -> list[float]:
        """The trained trials' targets, in order."""
        return [trial.target_rate for trial in self.result.trials]

    @property
    def asked(self) -> list[tuple[float, bool]]:
        """Each rate that was asked for, in order, and whether it was trained."""
        return [
            (event.target_rate, isinstance(event, TrialStarted))
            for event in self.recorder.events
            if isinstance(event, TrialStarted | RateKnown)
        ]

    @property
    def trained(self) -> list[tuple[int, float]]:
        """(epoch from 0, achieved rate) of each trained epoch."""
        return [(call[1], call[2]) for call in self.runner.calls if call[0] == "train"]

    @property
    def validated(self) -> list[int]:
        """Epochs, from 0, of each validation."""
        return [call[1] for call in self.runner.calls if call[0] == "validate"]


def adaptive(**changes: Any) -> AdaptiveParams:
    """Parameters with a budget of 0.1, one epoch in the initial phase and one in a trial."""
    given: dict[str, Any] = {
        "maximal_absolute_accuracy_degradation": 0.1,
        "initial_training_phase_epochs": 1,
        "patience_epochs": 1,
        **changes,
    }
    if "maximal_relative_accuracy_degradation" in changes:
        del given["maximal_absolute_accuracy_degradation"]
    return AdaptiveParams(**given)


def early_exit(**changes: Any) -> EarlyExitParams:
    """Parameters with a budget of 0.1 and ten epochs."""
    return EarlyExitParams(
        **{"maximal_absolute_accuracy_degradation": 0.1, "maximal_total_epochs": 10, **changes}
    )


def holds_up_to(threshold: float) -> Script:
    """A metric that is the baseline, 1.0, up to ``threshold``, and 0.0 above it."""
    return lambda rate, age: 1.0 if rate <= threshold else 0.0


def search(
    metric: Script,
    params: SearchParams | None = None,
    *,
    baseline: float = 1.0,
    higher_is_better: bool = True,
    start: float = 0.5,
    schedule: Schedule | None = None,
    layout: Callable[[float], float] = lambda rate: rate,
    maximal: float = 1.0,
    loss: Script = lambda rate, age: None,
    confirmation: Script | None = None,
    confirmation_baseline: float | None = None,
    observers: Sequence[Any] = (),
    **callbacks: Any,
) -> Search:
    """A search that isn't run yet; the initial phase is at ``start`` from its first epoch on."""
    model = FakeModel()
    controller = FakeController(
        model, schedule=schedule or Baseline(start), layout=layout, maximal=maximal
    )
    functions: dict[str, Any] = {
        "train_epoch_fn": lambda controller, model, **_: loss(model.rate, model.age),
        "validate_fn": lambda model, epoch: metric(model.rate, model.age),
        "configure_optimizers_fn": lambda: Optimizer(1.0),
        **callbacks,
    }
    if confirmation is not None:
        functions["confirm_fn"] = lambda model, epoch: confirmation(model.rate, model.age)
    references = DenseReferences(DenseReference(baseline), DenseReference(confirmation_baseline))
    runner = FakeRunner(model, controller, TrainingCallbacks(**functions), references)
    recorder = Recorder()
    loop = create_accuracy_aware_training_loop(
        Config(params or adaptive(), higher_is_better),
        controller,
        baseline,
        confirmation_baseline=confirmation_baseline,
        observers=[recorder, *observers],
    )
    return Search(loop, runner, controller, model, recorder)


def make_case() -> Case:
    """A smooth decay that leaves the budget somewhat above a rate of 0.75."""
    model = FakeModel()
    controller = FakeController(
        model, schedule=Baseline(0.5), layout=lambda rate: math.floor(rate * 128) / 128
    )
    return Case(
        model=model,
        controller=controller,
        callbacks=TrainingCallbacks(
            train_epoch_fn=lambda controller, model, **_: 1 / model.age,
            validate_fn=lambda model, epoch=0: 0.9 - (model.rate**4 - 0.05 * model.age) / 3,
            configure_optimizers_fn=lambda: Optimizer(0.1),
        ),
        params=adaptive(initial_training_phase_epochs=2, patience_epochs=2),
        baseline=0.9,
        measure=lambda: model.rate,
        learning_rate=lambda optimizer: optimizer.learning_rate,
        closeness=1 / 128,
    )
