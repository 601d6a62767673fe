"""The user's model, data and training, out of a plugin and the config's defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset, Subset

from accaware.config.model.config import RunConfig
from accaware.errors import PluginContractError, PluginFailure
from accaware.plugins.plugin import Plugin, guarded
from accaware.plugins.plugin_state import PluginState
from accaware.pytorch.compression.acceptance import NEEDS_GRADIENTS, check_model, needs_gradients
from accaware.pytorch.compression.calibration import Preparation
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.data.batches import first_sample
from accaware.pytorch.data.loaders import DeviceLoader, FewBatches, make_loader
from accaware.pytorch.data.random_state import RandomState
from accaware.pytorch.data.shards import begin_epoch, is_shard, shard_of
from accaware.pytorch.distributed.agreement import (
    agreed,
    is_one_of_several,
    processes,
    take_from_first,
)
from accaware.pytorch.distributed.averaging import averaged
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.wrappers import unwrapped
from accaware.pytorch.training import classification
from accaware.pytorch.training.optimizers import build_optimizer
from accaware.pytorch.training.replicas import Replicas, check_can_synchronize
from accaware.pytorch.training.returned import named, number_of
from accaware.search.events import BatchFinished, FiltersKnown, LearningRateKnown
from accaware.search.params import AdaptiveParams
from accaware.search.ports import Observer

_EACH_TRAINS_ON_ALL = (
    "each process trains on all of the training data: its loader doesn't share the samples out; "
    "give it a torch.utils.data.DistributedSampler where torch.distributed.is_initialized(), or "
    "offer create_datasets instead"
)

_WAITS_FOR_DATA = 0.5
"""From this share of an epoch's time on, faster data would be most of what makes it faster."""

_WORTH_TELLING = 5.0
"""Seconds of an epoch that are waited for data; what is less isn't worth a word."""


class PluginTask:
    """The user's model and data, with a sound default for whatever the plugin leaves open."""

    def __init__(
        self,
        config: RunConfig,
        plugin: Plugin,
        device: torch.device,
        observers: Sequence[Observer],
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._config = config
        self._plugin = plugin
        self.device = device
        self.observers = observers
        self._told_of_waiting = False
        self._told_filters: Mapping[str, int] = {}
        self._replicas = Replicas(sync_batchnorm=config.sync_batchnorm, warn=warn)
        # The plugin's functions get what its create_model gave; all else has the bare module.
        self.handed_over = self._create_model()
        self.model = unwrapped(self.handed_over)
        if config.sync_batchnorm:
            check_can_synchronize(self.model, device)
        train, validation, confirmation = self._create_loaders()
        if is_one_of_several() and not is_shard(train):
            warn(_EACH_TRAINS_ON_ALL)
        self.train_data = train
        self.validation_data = validation
        self.train_loader = self._watched(train, "train")
        self.validation_loader = self._watched(validation, "validate")
        self.confirmation_loader = (
            None if confirmation is None else self._watched(confirmation, "validate")
        )

    @property
    def steps_per_epoch(self) -> int | None:
        """Training batches; None where the loader has no length."""
        return _length(self.train_data)

    def train_epoch(
        self, controller: PTCompressionController, model: nn.Module, optimizer: Any, epoch: int
    ) -> Any:
        """Train an epoch on the plugin's batches, the compression's loss added to the plugin's.

        Args:
            epoch: counts from 0, over the whole run.
        """
        begin_epoch(self.train_data, epoch)
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._notify(LearningRateKnown(max(rates)))
        kept = controller.kept_filters()
        if kept != self._told_filters:
            self._told_filters = kept
            self._notify(FiltersKnown(kept))
        return self.train_on(self.train_loader, model, optimizer, TrainingCompression(controller))

    def warnings(self) -> Sequence[str]:
        """What the user should know of the epoch just trained: once, where it waited for data."""
        waited, taken = self.train_loader.waited, self.train_loader.taken
        if self._told_of_waiting or waited < max(_WORTH_TELLING, _WAITS_FOR_DATA * taken):
            return ()
        self._told_of_waiting = True
        more = "more workers"
        if not self._plugin.offers("create_dataloaders"):
            more += f" (num_workers, now {self._config.num_workers})"
        message = (
            f"{waited / taken:.0%} of this epoch's {taken:.0f} s went by waiting for training "
            f"data; {more} would prepare batches while the model trains"
        )
        return [message]

    def train_on(
        self, loader: Any, model: nn.Module, optimizer: Any, compression: classification.Compression
    ) -> Any:
        """The plugin's way of training, on other batches than those of an epoch."""
        own = self._plugin.function("train_epoch")
        with self._replicas.training(self._as_handed_over(model), own) as trained:
            if own is not None:
                return self._plugin.call("train_epoch", trained, loader, optimizer, compression)
            loss = self._loss if self._plugin.offers("loss") else classification.cross_entropy
            return guarded(
                "the default train_epoch",
                classification.train_epoch,
                trained,
                loader,
                optimizer,
                compression,
                loss,
            )

    def validate(self, model: nn.Module) -> float:
        """The metric on all of the validation data that trials are judged by."""
        return self._validate_together(self.validation_loader, model)

    def confirm(self, model: nn.Module) -> float:
        """The metric on the data that confirm the final model, where the config asks for that."""
        assert self.confirmation_loader is not None
        return self._validate_together(self.confirmation_loader, model)

    def _validate_together(self, loader: Any, model: nn.Module) -> float:
        """The same metric in every process, each of which may measure a part of it."""
        if not is_one_of_several():
            return self.validate_on(loader, model)
        # Averages over the steps of a process are of its own batches' statistics.
        take_from_first(unwrapped(model).buffers())
        validate = self._plugin.function("validate") or classification.validate
        means = classification.is_by_sample(validate) or self._config.metric.reduce == "mean"
        shard = self._shard(loader) if means else None
        metric = self.validate_on(loader if shard is None else shard, model)
        if means and (shard is not None or is_shard(loader)):
            return averaged(metric, _length(loader.dataset))
        return averaged(metric, None) if self._config.metric.reduce == "mean" else agreed(metric)

    def _shard(self, loader: Any) -> DeviceLoader | None:
        """This process's share of a loader's data, which are a data set of the plugin's."""
        if self._plugin.offers("create_dataloaders"):
            return None
        shard = shard_of(loader.unwatched)
        return None if shard is None else self._watched(shard, "validate")

    def validate_on(self, loader: Any, model: nn.Module) -> float:
        """The plugin's way of validating, on other batches than all of them."""
        return number_of(self._validated(loader, model), "validate", "the metric, a number")

    def _validated(self, loader: Any, model: nn.Module) -> Any:
        model = self._as_handed_over(model)
        if self._plugin.offers("validate"):
            return self._plugin.call("validate", model, loader)
        return guarded("the default validate", classification.validate, model, loader)

    def configure_optimizers(self) -> Any:
        """The plugin's own optimizer, or else the one that the config's section describes."""
        if self._plugin.offers("configure_optimizers"):
            return self._plugin.call("configure_optimizers", self.handed_over)
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
            made = self._plugin.call("example_inputs")
            # Each of several processes may have taken samples of its own.
            here = ExampleInputs.of(made).on(torch.device("cpu"))
            inputs = agreed(here).on(self.device)
            if not inputs.tensors():
                raise self._fault(
                    "example_inputs must return a tensor, or a tuple or a dict of tensors; "
                    f"it returned {named(made)}"
                )
        else:
            batch = guarded("the training data", lambda: next(iter(self.train_data), None))
            if batch is None:
                raise self._fault("the training data is empty")
            inputs = agreed(first_sample(batch, self.model)).on(self.device)
        # Tried once here, where it is clear whose an exception is.
        self.model.eval()
        with torch.no_grad():
            try:
                guarded("the model, called with the example inputs,", inputs.call, self.model)
            except PluginFailure as failure:
                if needs_gradients(failure.original):
                    raise self._fault(f"the model: {NEEDS_GRADIENTS}") from failure
                raise
        by_default = not self._plugin.offers("train_epoch") and not self._plugin.offers("loss")
        read: Callable[[Any], Any] = classification.logits_of if by_default else lambda out: out
        self._replicas.example = inputs, read
        return inputs

    def state(self) -> PluginState:
        """What the plugin remembers, its gradient scalers' state included."""
        return PluginState(self._plugin, torch.amp.GradScaler)

    def randomness(self, warn: Callable[[str], None] = lambda message: None) -> RandomState:
        """All generators that its training draws from.

        Args:
            warn: told of those that can't be brought back.
        """
        loaders = [self.train_loader, self.validation_loader]
        if self.confirmation_loader is not None:
            loaders.append(self.confirmation_loader)
        return RandomState(loaders, self.device, warn)

    def watched(self, preparation: Preparation) -> Preparation:
        """The same, which reports its progress."""

        def report(done: int) -> None:
            self._notify(BatchFinished("adapt", done, preparation.samples))

        preparation.after_batch = report
        return _Guarded(preparation)

    def _create_model(self) -> nn.Module:
        model = self._plugin.call("create_model")
        if not isinstance(model, nn.Module):
            raise self._fault(f"create_model must return an nn.Module; it returned {named(model)}")
        check_model(unwrapped(model))
        moved: nn.Module = guarded("moving what create_model returned", model.to, self.device)
        return moved

    def _as_handed_over(self, model: nn.Module) -> nn.Module:
        return self.handed_over if model is self.model else model

    def _create_loaders(self) -> tuple[Any, Any, Any]:
        """For training, for trials to be judged by, and for confirmation, None without one."""
        by_loader = self._plugin.offers("create_dataloaders")
        name = "create_dataloaders" if by_loader else "create_datasets"
        made = self._plugin.call(name)
        made = self._with_confirmation(name, made, by_loader=by_loader)
        parts = ("training", "validation", "confirmation")
        for data, part in zip(made, parts, strict=False):
            self._check_data(name, part, data, loader=by_loader)
        train, validation, kept = (*made, None)[:3]
        fraction = self._fraction
        if fraction is not None:
            validation, kept = self._split(validation, fraction)
        if by_loader:
            return train, validation, kept
        return (
            self._loader(train, train=True),
            self._loader(validation, train=False),
            None if kept is None else self._loader(kept, train=False),
        )

    @property
    def _fraction(self) -> float | None:
        """Of the validation data, kept for confirmation."""
        confirmation = self._config.accuracy_aware_training.confirmation
        return None if confirmation is None else confirmation.fraction

    def _with_confirmation(self, name: str, made: Any, *, by_loader: bool) -> Sequence[Any]:
        """What a function returned, which has as many parts as the config's confirmation needs."""
        confirmation = self._config.accuracy_aware_training.confirmation
        fraction = self._fraction
        count = len(made) if isinstance(made, (tuple, list)) else 0
        if confirmation is None or fraction is not None:
            if count != 2:
                hint = '; a third part, for confirmation, is for a config with "confirmation": {}'
                raise self._fault(
                    f"{name} must return a pair, for training and for validation; "
                    f"it returned {named(made)}{hint if count == 3 else ''}"
                )
            if by_loader and fraction is not None:
                raise self._fault(
                    f"a data loader can't be split, and confirmation has a fraction of "
                    f'{fraction:g}; set "confirmation": {{}} and return a third loader, for '
                    "confirmation, from create_dataloaders, or datasets from create_datasets"
                )
        elif count != 3:
            raise self._fault(
                f"{name} must return three parts, for training, for validation and for "
                f"confirmation, as the config has a confirmation without a fraction; it returned "
                f"{named(made)}"
            )
        checked: Sequence[Any] = made
        return checked

    def _split(self, dataset: Any, fraction: float) -> tuple[Any, Any]:
        """The validation data for trials, and for confirmation; drawn by the seed, once for all."""
        if isinstance(dataset, IterableDataset):
            raise self._fault(
                f"an IterableDataset can't be split, and confirmation has a fraction of "
                f'{fraction:g}; set "confirmation": {{}} and return a third dataset, for '
                "confirmation, from create_datasets"
            )
        count = len(dataset)
        kept = round(fraction * count)
        if not 0 < kept < count:
            raise self._fault(
                f"confirmation: a fraction of {fraction:g} leaves {count - kept} of "
                f"{count} samples to judge trials by, and {kept} to confirm"
            )
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self._config.seed))
        parts = order[kept:], order[:kept]
        judged, confirming = (Subset(dataset, part.sort().values.tolist()) for part in parts)
        return judged, confirming

    def _check_data(self, function: str, part: str, data: Any, *, loader: bool) -> None:
        """Faults that would show themselves late, or by somebody else's exception."""
        if loader and (not hasattr(data, "__iter__") or isinstance(data, Iterator)):
            raise self._fault(
                f"{function} must return data loaders, which can be gone through again and again; "
                f"for {part} it returned {named(data)}"
            )
        if not loader and not isinstance(data, IterableDataset):
            missing = [name for name in ("__getitem__", "__len__") if not hasattr(data, name)]
            if missing:
                raise self._fault(
                    f"{function} must return datasets, which have {' and '.join(missing)}; "
                    f"for {part} it returned {named(data)}"
                )
        if _length(data) == 0:
            raise self._fault(f"the {part} data is empty")

    def _loader(self, dataset: Any, *, train: bool) -> Any:
        return make_loader(
            dataset,
            batch_size=self._config.batch_size_of(processes()),
            num_workers=self._config.num_workers,
            train=train,
            seed=self._config.seed,
            device=self.device,
        )

    def few_batches(self, count: int) -> DeviceLoader:
        """So many training batches, as an epoch."""
        return self._watched(FewBatches(self.train_data, count), "train")

    def _watched(self, loader: Any, activity: str) -> DeviceLoader:
        def report(done: int, total: int | None) -> None:
            self._notify(BatchFinished(activity, done, total))

        return DeviceLoader(loader, self.device, report)

    def _loss(self, outputs: Any, targets: Any) -> Tensor:
        loss = self._plugin.call("loss", outputs, targets)
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss
        raise self._fault(f"loss must return a tensor of one element; it returned {named(loss)}")

    def _notify(self, event: BatchFinished | FiltersKnown | LearningRateKnown) -> None:
        for observer in self.observers:
            observer.notify(event)

    def _fault(self, message: str) -> PluginContractError:
        return PluginContractError(f"plugin {self._plugin.name}: {message}")


class _Guarded:
    """A preparation that keeps the exceptions of the user's model and data apart."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self.activity = preparation.activity
        self.for_average = preparation.for_average
        self.after_batch = preparation.after_batch

    @property
    def samples(self) -> int:
        return self._preparation.samples

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        guarded(self.activity, self._preparation.prepare, model, device)


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


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        return None
