"""What the loop needs from the world: a script's functions, and Protocols without a framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from accaware.search.events import Event
from accaware.search.metric import DenseReferences, Measurement
from accaware.search.params import SearchParams
from accaware.search.trial import Checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainingCallbacks:
    """The user's training, as functions. Models and optimizers pass through untouched.

    Attributes:
        train_epoch_fn: ``(controller, model, epoch=, optimizer=, lr_scheduler=)``, trains one
            epoch; returns its loss or None.
        validate_fn: ``(model, epoch=)``, returns the metric, a number or a ``Metric``; ``epoch``
            is passed only to a function that accepts it.
        configure_optimizers_fn: ``()``, returns an optimizer or (optimizer, scheduler), where
            the scheduler may be None or a list.
        dump_checkpoint_fn: ``(model, controller, runner, save_dir)``, returns a path; called
            beside accaware's own saving.
        load_checkpoint_fn: ``(model, path)``, loads what ``dump_checkpoint_fn`` wrote into a
            model that already has the right shape.
        early_stopping_fn: ``(metric)``, True ends the search after the epoch at hand.
        update_learning_rate_fn: ``(lr_scheduler, epoch, metric, loss)``, called after each
            epoch in place of the scheduler's own step.
        confirm_fn: as ``validate_fn``, on data that nothing else looks at; confirms the final
            model.
    """

    train_epoch_fn: Callable[..., float | None]
    validate_fn: Callable[..., float]
    configure_optimizers_fn: Callable[[], Any]
    dump_checkpoint_fn: Callable[..., Any] | None = None
    load_checkpoint_fn: Callable[..., Any] | None = None
    early_stopping_fn: Callable[[float], bool] | None = None
    update_learning_rate_fn: Callable[..., None] | None = None
    confirm_fn: Callable[..., float] | None = None


T = TypeVar("T")


class Observer(Protocol):
    """Is told of every event, in order. An exception in it ends the run."""

    def notify(self, event: Event) -> None:
        """Take note of an event; the search waits until this returns."""


class Scheduler(Protocol):
    """The compression level over the epochs of the initial phase, or of early_exit."""

    @property
    def target(self) -> float:
        """The level of full compression, in [0, 1]."""

    @property
    def fully_compressed(self) -> bool:
        """Whether the level has arrived at the target."""

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Enter an epoch (the next one by default) and set its level on the model."""

    def step(self) -> None:
        """Once after each optimizer step; matters to schedules that move within an epoch."""

    def observe(self, held: bool) -> None:
        """Told after each validation whether the metric is within budget, for adaptive ones."""

    def disable(self) -> None:
        """From here on the level stays where it is put; steps have no effect."""


class CompressionController(Protocol):
    """What compresses the model. Rates are fractions in [0, 1]."""

    @property
    def scheduler(self) -> Scheduler:
        """What walks the compression section's schedule."""

    @property
    def compression_rate(self) -> float:
        """What is achieved now, measured on the model. Setting it asks for a rate."""

    @compression_rate.setter
    def compression_rate(self, target: float) -> None: ...

    @property
    def maximal_compression_rate(self) -> float:
        """The highest rate that this model can reach."""

    @property
    def model_sparsity(self) -> float | None:
        """The share of all the model's parameters that are zero; None where none is made so."""

    def create_runner(
        self,
        model: Any,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> Runner:
        """A Runner that trains ``model`` with the user's functions.

        Args:
            references: what its measurements are paired with; by default nothing.
        """


class Runner(Protocol):
    """Trains, validates, and keeps checkpoints; holds the model so that the loop needn't."""

    def agree(self, value: T) -> T:
        """What the first of several processes says; with one process, ``value`` itself."""

    def start(self, lr_factor: float) -> None:
        """A fresh optimizer and schedule, the base learning rate multiplied by ``lr_factor``."""

    def anneal(self, share: float) -> None:
        """From here on the learning rate is this share of what it would be without."""

    def train_epoch(self, epoch: int) -> float | None:
        """Train one epoch (``epoch`` counts from 0 over the whole run); its loss, if it has one."""

    def validate(self, epoch: int) -> Measurement:
        """The metric on the validation data. A NaN is returned as such, not raised."""

    def confirm(self, epoch: int) -> Measurement:
        """The same on data that no trial is judged by."""

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        """Step the learning-rate schedule; ``metric`` is this epoch's, None if not validated."""

    def asks_to_stop(self, metric: float) -> bool:
        """Whether the user's early stopping wants the search to end here."""

    def warnings(self) -> Sequence[str]:
        """What the user should know of the epoch that was just trained; each is said once."""

    def save(self, name: str) -> Checkpoint:
        """Weights and compression state under a name; an earlier save of it is replaced."""

    def load(self, checkpoint: Checkpoint) -> None:
        """Bring weights and compression state back, the controller's reports included."""

    def discard(self, checkpoint: Checkpoint) -> None:
        """The checkpoint won't be asked for again; it may be gone already."""


class Snapshots(Protocol):
    """Keeps all that a run needs to go on from a moment, but for the checkpoints of its weights."""

    def save(self, name: str) -> Mapping[str, str]:
        """Write the state of now under a name; the files that it needs, and their digests.

        Raises:
            UnkeepableError: some of it can't be kept.
        """

    def load(self, name: str, digests: Mapping[str, str]) -> None:
        """Go back to the moment that was saved; ``digests`` are what ``save`` returned."""

    def discard(self, name: str) -> None:
        """It won't be asked for again; it may be gone already."""


class SearchConfig(Protocol):
    """The part of a config that a loop reads."""

    @property
    def accuracy_aware_training(self) -> SearchParams:
        """What the search was asked for, of one of the two modes."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher metric is the better one."""
