"""What the framework-free runners share, and the case that every runner is tested through."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accaware.search.metric import DenseReferences, Measurement
from accaware.search.params import AdaptiveParams, SearchParams
from accaware.search.ports import CompressionController, TrainingCallbacks
from accaware.search.trial import Checkpoint


@dataclass(frozen=True)
class Config:
    """The part of a config that a loop reads."""

    accuracy_aware_training: SearchParams
    higher_is_better: bool = True


@dataclass(eq=False)
class Optimizer:
    """Just a learning rate; the training functions do the rest."""

    learning_rate: float
    share: float = 1.0
    """Of what the learning rate would be without annealing."""


@dataclass(kw_only=True)
class Case:
    """A model with all that a loop needs, for the contract that every runner has to keep.

    Attributes:
        model: trained, untouched; ``controller`` compresses it.
        callbacks: the user's functions, on real or scripted training.
        params: a search that ends within budget, of a few short epochs.
        baseline: the dense model's metric.
        measure: the compression rate, computed on the model without asking the controller.
        learning_rate: an optimizer's base learning rate, as it was before any scheduler.
        closeness: how far an achieved rate may be from the asked one.
    """

    model: Any
    controller: CompressionController
    callbacks: TrainingCallbacks
    params: AdaptiveParams
    baseline: float
    measure: Callable[[], float]
    learning_rate: Callable[[Any], float]
    closeness: float = 1e-9
    higher_is_better: bool = True


class CallbackRunner:
    """A Runner over the user's functions, for models that fit into a plain state."""

    def __init__(
        self,
        model: Any,
        controller: Any,
        callbacks: TrainingCallbacks,
        references: DenseReferences | None = None,
    ) -> None:
        self.references = references or DenseReferences()
        self.model = model
        self.controller = controller
        self.callbacks = callbacks
        self.saved: dict[Checkpoint, Any] = {}
        self.optimizer: Any = None
        self.lr_scheduler: Any = None

    @abstractmethod
    def state(self) -> Any:
        """Weights and compression state; copied by ``save``."""

    @abstractmethod
    def restore(self, state: Any) -> None: ...

    def agree(self, value: Any) -> Any:
        return value

    def start(self, lr_factor: float) -> None:
        configured = self.callbacks.configure_optimizers_fn()
        pair = configured if isinstance(configured, tuple) else (configured, None)
        self.optimizer, self.lr_scheduler = pair
        self.optimizer.learning_rate *= lr_factor

    def anneal(self, share: float) -> None:
        self.optimizer.learning_rate *= share / self.optimizer.share
        self.optimizer.share = share

    def train_epoch(self, epoch: int) -> float | None:
        return self.callbacks.train_epoch_fn(
            self.controller,
            self.model,
            epoch=epoch,
            optimizer=self.optimizer,
            lr_scheduler=self.lr_scheduler,
        )

    def validate(self, epoch: int) -> Measurement:
        metric = self.callbacks.validate_fn(self.model, epoch=epoch)
        return self.references.validation.measured(metric)

    def confirm(self, epoch: int) -> Measurement:
        assert self.callbacks.confirm_fn is not None
        metric = self.callbacks.confirm_fn(self.model, epoch=epoch)
        return self.references.confirmation.measured(metric)

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None:
        if self.callbacks.update_learning_rate_fn:
            self.callbacks.update_learning_rate_fn(self.lr_scheduler, epoch, metric, loss)

    def asks_to_stop(self, metric: float) -> bool:
        stop = self.callbacks.early_stopping_fn
        return stop is not None and bool(stop(metric))

    def warnings(self) -> Sequence[str]:
        return ()

    def save(self, name: str) -> Checkpoint:
        checkpoint = Checkpoint(name)
        self.saved[checkpoint] = copy.deepcopy(self.state())
        return checkpoint

    def load(self, checkpoint: Checkpoint) -> None:
        self.restore(copy.deepcopy(self.saved[checkpoint]))

    def discard(self, checkpoint: Checkpoint) -> None:
        del self.saved[checkpoint]
