"""From a config and a plugin to a run. Alone in accaware.pytorch in reading a whole config."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accaware.config.model import AccAwareConfig
from accaware.errors import PluginContractError, UsageError
from accaware.plugins.plugin import Plugin, guarded
from accaware.pytorch import classification
from accaware.pytorch.batches import first_sample
from accaware.pytorch.checkpoint import save_compressed
from accaware.pytorch.controller import PTCompressionController
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.loaders import DeviceLoader, make_loader, seed_everything
from accaware.pytorch.optimizers import build_optimizer
from accaware.pytorch.runner import TorchRunner, number_of
from accaware.rundir.sizes import ModelSizes
from accaware.search.callbacks import TrainingCallbacks
from accaware.search.events import BatchFinished
from accaware.search.loop import (
    AdaptiveCompressionTrainingLoop,
    EarlyExitCompressionTrainingLoop,
    create_accuracy_aware_training_loop,
)
from accaware.search.params import AdaptiveParams
from accaware.search.ports import Observer
from accaware.search.result import SearchResult


def build(
    config: AccAwareConfig,
    plugin: Plugin,
    *,
    checkpoints: Path,
    observers: Iterable[Observer],
) -> CompressionRun:
    """Set a run up: seed, model, data, baseline, controller, in this order.

    Args:
        checkpoints: a folder for the search's own files.
        observers: told of the search's events and of progress within epochs.

    Raises:
        UsageError: a device that isn't there; a model that can't be compressed.
        PluginContractError: a function returned something else than it should.
        PluginFailure: a function raised.
    """
    device = _device(config.device)
    seed_everything(config.seed)
    task = PluginTask(config, plugin, device, tuple(observers))
    return CompressionRun(config, task, checkpoints)


class PluginTask:
    """The user's model and data, with a sound default for whatever the plugin leaves open."""

    def __init__(
        self,
        config: AccAwareConfig,
        plugin: Plugin,
        device: torch.device,
        observers: Sequence[Observer],
    ) -> None:
        self._config = config
        self._plugin = plugin
        self.device = device
        self.observers = observers
        self.model = self._create_model()
        train, validation = self._create_loaders()
        self._train_data = train
        self.train_loader = self._watched(train, "train")
        self.adaptation_loader = self._watched(train, "adapt")
        self.validation_loader = self._watched(validation, "validate")

    def train_epoch(
        self, controller: PTCompressionController, model: nn.Module, optimizer: Any
    ) -> Any:
        compression = TrainingCompression(controller)
        if self._plugin.offers("train_epoch"):
            arguments = (model, self.train_loader, optimizer, compression)
            return self._plugin.call("train_epoch", *arguments)
        loss = classification.cross_entropy
        if self._plugin.offers("loss"):
            loss = lambda outputs, targets: self._plugin.call("loss", outputs, targets)  # noqa: E731
        return guarded(
            "the default train_epoch",
            classification.train_epoch,
            model,
            self.train_loader,
            optimizer,
            compression,
            loss,
        )

    def validate(self, model: nn.Module) -> Any:
        if self._plugin.offers("validate"):
            return self._plugin.call("validate", model, self.validation_loader)
        name = "the default validate"
        return guarded(name, classification.validate, model, self.validation_loader)

    def configure_optimizers(self) -> Any:
        if self._plugin.offers("configure_optimizers"):
            return self._plugin.call("configure_optimizers", self.model)
        params = self._config.accuracy_aware_training
        if isinstance(params, AdaptiveParams):
            epochs = params.patience_epochs
        else:
            epochs = params.maximal_total_epochs
        trained = (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        optimizer = self._config.optimizer
        return build_optimizer(optimizer, trained, epochs, self._config.higher_is_better)

    def example_inputs(self) -> ExampleInputs:
        """The plugin's, or the first training batch's inputs, a batch of 1."""
        if self._plugin.offers("example_inputs"):
            return ExampleInputs.of(self._plugin.call("example_inputs")).on(self.device)
        batch = guarded("the training data", lambda: next(iter(self._train_data), None))
        if batch is None:
            raise PluginContractError(f"plugin {self._plugin.name}: the training data is empty")
        return first_sample(batch).on(self.device)

    def _create_model(self) -> nn.Module:
        model = self._plugin.call("create_model")
        if not isinstance(model, nn.Module):
            raise PluginContractError(
                f"plugin {self._plugin.name}: create_model must return an nn.Module, "
                f"not {type(model).__name__}"
            )
        return model.to(self.device)

    def _create_loaders(self) -> tuple[Any, Any]:
        by_loader = self._plugin.offers("create_dataloaders")
        name = "create_dataloaders" if by_loader else "create_datasets"
        made = self._plugin.call(name)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise PluginContractError(
                f"plugin {self._plugin.name}: {name} must return a pair for training and "
                f"validation, not {type(made).__name__}"
            )
        if by_loader:
            return made[0], made[1]
        train, validation = (
            self._loader(dataset, train=part == 0) for part, dataset in enumerate(made)
        )
        return train, validation

    def _loader(self, dataset: Any, *, train: bool) -> Any:
        return make_loader(
            dataset,
            batch_size=self._config.batch_size,
            num_workers=self._config.num_workers,
            train=train,
            seed=self._config.seed,
            device=self.device,
        )

    def _watched(self, loader: Any, activity: str) -> DeviceLoader:
        def tell(done: int, total: int | None) -> None:
            for observer in self.observers:
                observer.notify(BatchFinished(activity, done, total))

        return DeviceLoader(loader, self.device, tell)


class TrainingCompression:
    """What a plugin's train_epoch gets as ``compression``."""

    def __init__(self, controller: PTCompressionController) -> None:
        self._controller = controller

    def step(self) -> None:
        """Once after each optimizer step."""
        self._controller.scheduler.step()

    def loss(self) -> Tensor:
        """A scalar to add to the training loss."""
        return self._controller.loss()


class CompressionRun:
    """A model, ready to be compressed, and the search over it."""

    def __init__(self, config: AccAwareConfig, task: PluginTask, checkpoints: Path) -> None:
        self._task = task
        # Measured before anything is attached to the model.
        self._baseline = number_of(task.validate(task.model), "validate", "the metric, a number")
        self._controller, _ = create_compressed_model(
            task.model, config, task.example_inputs(), task.adaptation_loader
        )
        self._loop: AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop = (
            create_accuracy_aware_training_loop(
                config, self._controller, self._baseline, observers=task.observers
            )
        )
        self._runner = TorchRunner(
            task.model,
            self._controller,
            TrainingCallbacks(
                train_epoch_fn=lambda controller, model, epoch, optimizer, lr_scheduler: (
                    task.train_epoch(controller, model, optimizer)
                ),
                validate_fn=task.validate,
                configure_optimizers_fn=task.configure_optimizers,
            ),
            str(checkpoints),
        )
        self._searched = False

    @property
    def device(self) -> str:
        return str(self._task.device)

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
        """Layers that aren't compressed, each with the reason."""
        return [(entry.layer, entry.reason) for entry in self._controller.left_out]

    @property
    def result(self) -> SearchResult | None:
        """Of a finished search, or what an unfinished one had found; None before it began."""
        return self._loop.result if self._searched else None

    def search(self) -> SearchResult:
        """Search; the best model is held afterwards.

        Raises:
            PluginFailure: the user's code raised; ``result`` has what was found by then.
        """
        self._searched = True
        return self._loop.drive(self._runner)

    def load_best(self) -> bool:
        """After an unfinished search, hold the best model so far; False if there is none."""
        result = self.result
        if result is None or result.best is None:
            return False
        self._runner.load(result.best.checkpoint)
        return True

    def sizes(self) -> ModelSizes:
        """Of the model that is held now."""
        return self._controller.sizes()

    def save_model(self, path: Path) -> None:
        """Write the model that is held, for ``load_compressed``."""
        save_compressed(self._task.model, self._controller.algorithm.kept_masks(), path)


def _device(name: str) -> torch.device:
    """The named device, or for "auto" the best that is there.

    Raises:
        UsageError: this machine doesn't have it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if not there.get(name.partition(":")[0], False):
        have = ", ".join(kind for kind, available in there.items() if available)
        raise UsageError(f"device {name!r} is not available to torch here; there is {have}")
    return torch.device(name)
