"""The plugin that trains a LightningModule by its own steps."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.config.model.config import RunConfig
from accaware.errors import PluginContractError
from accaware.extras import import_extra
from accaware.plugins.load import find_classes
from accaware.pytorch.builtin.lightning.logs import Logs, metrics_of_this_process
from accaware.pytorch.builtin.lightning.no_trainer import NoTrainer, check_needs_no_trainer
from accaware.pytorch.builtin.lightning.optimizers import SteppedByBatch, optimizer_and_schedules
from accaware.pytorch.builtin.lightning.steps import TrainingStep, call_step
from accaware.pytorch.data.batches import first_sample
from accaware.pytorch.data.shards import is_shard, shard_of
from accaware.pytorch.distributed.agreement import (
    is_one_of_several,
    local_rank,
    machines_first_processes_first,
)
from accaware.pytorch.model.inputs import ExampleInputs, batch_size_of
from accaware.pytorch.model.wrappers import Replica
from accaware.pytorch.training import classification
from accaware.pytorch.training.mixed_precision import MixedPrecision
from accaware.pytorch.training.replicas import averages_gradients
from accaware.wording import first_line


class LightningTask:
    """A LightningModule and a data module as they are.

    Called are ``training_step``, ``validation_step``, ``configure_optimizers``, ``setup`` and the
    hooks around epochs and batches; what the module logs as ``monitor`` is the metric. A Trainer
    doesn't run, and its own settings (clipping, accumulation, callbacks) have no place here. With
    the config's ``mixed_precision`` the steps run under autocast. Of several processes each trains
    on a share of the training data, as under Lightning's DDP.

    Args:
        config: of the run.
        module: the LightningModule's class, ``file.py:Class``.
        monitor: what its validation logs.
        checkpoint: of Lightning, with the trained weights; only tensors and plain values are read
            from it. None where the class's own constructor brings trained weights.
        datamodule: the LightningDataModule's class; None where the module has the data loaders.
        module_args: keyword arguments of the module's class.
        datamodule_args: and of the data module's.

    Raises:
        MissingExtraError: Lightning isn't installed.
        PluginContractError: there is no such class; it needs a Trainer.
    """

    def __init__(
        self,
        config: RunConfig,
        module: str,
        monitor: str,
        checkpoint: str | None = None,
        datamodule: str | None = None,
        module_args: Mapping[str, Any] | None = None,
        datamodule_args: Mapping[str, Any] | None = None,
    ) -> None:
        if find_spec("lightning") is None and find_spec("pytorch_lightning") is None:
            import_extra("lightning", "lightning")
        specs = [module] if datamodule is None else [module, datamodule]
        self._kind, *data = find_classes(specs, config.directory)
        self._arguments = dict(module_args or {})
        self._checkpoint = None if checkpoint is None else config.directory / checkpoint
        if self._checkpoint is not None and not self._checkpoint.is_file():
            raise PluginContractError(f"checkpoint: there is no file {self._checkpoint}")
        self._monitor = monitor
        self._seed = config.seed
        self._validates_shares = config.metric.reduce == "mean"
        self._confirms = config.accuracy_aware_training.confirmation is not None and (
            config.accuracy_aware_training.confirmation.fraction is None
        )
        self._data = data[0](**(datamodule_args or {})) if data else None
        self._trainer = NoTrainer(self._kind.__name__, self._data)
        self._by_batch: list[SteppedByBatch] = []
        mixed = config.task is not None and config.task.mixed_precision
        self.precision = MixedPrecision() if mixed else None
        # Among the plugin's own attributes, where its state is kept from epoch to epoch.
        self.scaler = self.precision.scaler if self.precision else None
        self._module: Any = None
        self._train_loader: Any = None

    def create_model(self) -> nn.Module:
        """The LightningModule, with the checkpoint's weights.

        Raises:
            PluginContractError: the checkpoint can't be read, or the module needs a Trainer.
        """
        module = self._kind(**self._arguments) if self._checkpoint is None else self._loaded()
        check_needs_no_trainer(module)
        self._module = module
        self._trainer.hold(module)
        module.setup("fit")
        self._trainer.release(module)
        loaded: nn.Module = module
        return loaded

    def create_dataloaders(self) -> tuple[Any, ...]:
        """For training and validation; for confirmation the one for tests, where it is asked for.

        Of several processes each gets a share of the training data; with the config's reduction
        ``mean`` of all data.

        Raises:
            PluginContractError: there are several for one of these, or none.
        """
        source = self._module if self._data is None else self._data
        self._trainer.hold(source)
        if self._data is not None:
            with machines_first_processes_first():
                if local_rank() == 0:
                    source.prepare_data()
            source.setup("fit")
            if self._confirms:
                source.setup("test")
        parts = ["train", "val", *(["test"] if self._confirms else [])]
        loaders = [self._single(getattr(source, f"{part}_dataloader")(), part) for part in parts]
        self._trainer.release(source)
        shared_out = len(loaders) if self._validates_shares else 1
        loaders[:shared_out] = [self._share_of(each) for each in loaders[:shared_out]]
        self._train_loader = loaders[0]
        return tuple(loaders)

    def example_inputs(self) -> Any:
        """The module's ``example_input_array``, or a sample of the training data."""
        own = getattr(self._module, "example_input_array", None)
        if own is not None:
            return ExampleInputs.of(own)
        batch = next(iter(self._train_loader), None)
        if batch is None:
            raise PluginContractError("the training data is empty")
        return first_sample(batch, self._module)

    def configure_optimizers(self, model: nn.Module) -> tuple[Optimizer, list[Any]]:
        """The module's own, for a trial that begins."""
        self._trainer.current_epoch = self._trainer.global_step = 0
        with self._trainer.attached_to(model, Logs(), training=True):
            made = model.configure_optimizers()  # type: ignore[operator]
        optimizer, schedules = optimizer_and_schedules(made, self._monitor)
        self._by_batch = [each for each in schedules if isinstance(each, SteppedByBatch)]
        return optimizer, schedules

    @averages_gradients
    def train_epoch(
        self,
        model: Any,
        train_loader: Iterable[Any],
        optimizer: Optimizer,
        compression: classification.Compression,
    ) -> float:
        """One pass of training steps; the mean loss, weighted by batch size."""
        model.train()
        step: nn.Module = TrainingStep(model, compression)
        if is_one_of_several():
            step = Replica(step, unused=None)
        total, samples = 0.0, 0
        with self._epoch(model, training=True) as logs:
            for index, batch in enumerate(train_loader):
                model.on_train_batch_start(batch, index)
                with self._forward(model), classification.single_allowed_in(batch, model):
                    logs.batch_size = size = batch_size_of(batch)
                    outputs, loss, with_compression = step(batch, index)
                if loss is not None:
                    self._descend(with_compression, optimizer)
                    compression.step()
                    value: float = loss.item()
                    # The other processes, whose loss may be another, would wait for this one.
                    if not math.isfinite(value) and not is_one_of_several():
                        return value
                    total, samples = total + value * size, samples + size
                model.on_train_batch_end(outputs, batch, index)
        self._trainer.current_epoch += 1
        if not samples:
            raise PluginContractError("no training step gave a loss")
        return total / samples

    @torch.no_grad()
    def validate(self, model: Any, validation_loader: Iterable[Any]) -> Tensor:
        """What the validation steps log as ``monitor``.

        Where each of several processes has a share of the data, metrics are of all of them, and
        so is what is logged with ``sync_dist``.
        """
        model.eval()
        shares = is_one_of_several() and is_shard(validation_loader)
        with nullcontext() if shares else metrics_of_this_process(model):
            with self._epoch(model, training=False, of_all=shares) as logs:
                for index, batch in enumerate(validation_loader):
                    model.on_validation_batch_start(batch, index)
                    with self._forward(model):
                        logs.batch_size = batch_size_of(batch)
                        outputs = call_step(model.validation_step, batch, index)
                    model.on_validation_batch_end(outputs, batch, index)
            metric = logs.value(self._monitor)
        logs.end()
        return metric

    def state_dict(self) -> dict[str, int]:
        """How far the trial is."""
        return {"epoch": self._trainer.current_epoch, "step": self._trainer.global_step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self._trainer.current_epoch = state["epoch"]
        self._trainer.global_step = state["step"]

    def _loaded(self) -> Any:
        path = self._checkpoint
        try:
            return self._kind.load_from_checkpoint(
                path, map_location="cpu", strict=True, weights_only=True, **self._arguments
            )
        except pickle.UnpicklingError as error:
            raise PluginContractError(
                f"checkpoint {path} holds more than tensors and plain values, which could run "
                "code: save_hyperparameters(ignore=[...]) leaves objects out, and module_args "
                f"gives them instead ({first_line(error)})"
            ) from error
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise PluginContractError(f"checkpoint {path}: {error}") from error

    def _single(self, loader: Any, part: str) -> Any:
        several = isinstance(loader, Mapping) or (
            isinstance(loader, (list, tuple)) and len(loader) != 1
        )
        if several or loader is None:
            count = len(loader) if several else "none"
            raise PluginContractError(
                f"{part}_dataloader gives {count} data loaders; accaware takes one"
            )
        return loader[0] if isinstance(loader, (list, tuple)) else loader

    def _share_of(self, loader: Any) -> Any:
        """This process's, as Lightning makes it; the whole where the loader can't be shared out."""
        shard = None if is_shard(loader) else shard_of(loader, seed=self._seed)
        return loader if shard is None else shard

    @contextmanager
    def _epoch(self, model: Any, *, training: bool, of_all: bool = False) -> Iterator[Logs]:
        """Between the module's hooks around it.

        Args:
            of_all: what is logged is to be reduced over all processes.
        """
        kind, logs = "train" if training else "validation", Logs(of_all=of_all)
        with self._trainer.attached_to(model, logs, training=training):
            getattr(model, f"on_{kind}_epoch_start")()
            yield logs
            logs.batch_size = 1
            getattr(model, f"on_{kind}_epoch_end")()
        if training:
            logs.end()

    def _forward(self, model: nn.Module) -> AbstractContextManager[object]:
        if self.precision is None:
            return nullcontext()
        return self.precision.forward(next(model.parameters()).device)

    def _descend(self, loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad()
        if self.precision is None:
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        else:
            self.precision.step(loss, optimizer)
        self._trainer.global_step += 1
        for schedule in self._by_batch:
            schedule.after_batch()
