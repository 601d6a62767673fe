"""From a config and a plugin to a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from accaware.config.model import AccAwareConfig
from accaware.errors import UsageError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.checkpoint import save_compressed
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.loaders import seed_everything
from accaware.pytorch.runner import TorchRunner
from accaware.pytorch.task import PluginTask
from accaware.rundir.sizes import ModelSizes
from accaware.search.callbacks import TrainingCallbacks
from accaware.search.loop import (
    AdaptiveCompressionTrainingLoop,
    EarlyExitCompressionTrainingLoop,
    create_accuracy_aware_training_loop,
)
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


class CompressionRun:
    """A model, ready to be compressed, and the search over it."""

    def __init__(self, config: AccAwareConfig, task: PluginTask, checkpoints: Path) -> None:
        self._task = task
        # Measured before anything is attached to the model.
        baseline = task.validate(task.model)
        self._controller, _ = create_compressed_model(
            task.model, config, task.example_inputs(), task.train_data
        )
        if self._controller.adapter is not None:
            self._controller.adapter = task.watched_adapter(self._controller.adapter)
        self._loop: AdaptiveCompressionTrainingLoop | EarlyExitCompressionTrainingLoop = (
            create_accuracy_aware_training_loop(
                config, self._controller, baseline, observers=task.observers
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
    kind, _, index = name.partition(":")
    if not there[kind] or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        have = ", ".join(kind for kind, available in there.items() if available)
        raise UsageError(f"device {name!r} is not available to torch here; there is {have}")
    return torch.device(name)
