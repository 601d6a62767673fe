"""The plugin that runs a config by the names of its model and its dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.config.model.config import RunConfig
from accaware.config.model.task import TaskConfig
from accaware.errors import TaskError
from accaware.pytorch.builtin.classification.datasets import KINDS, NamedDataset, kind_of
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models import named_model
from accaware.pytorch.builtin.classification.models.named_model import Transform
from accaware.pytorch.builtin.classification.transforms import Preprocessing
from accaware.pytorch.model.wrappers import Recompiled
from accaware.pytorch.training import classification
from accaware.pytorch.training.mixed_precision import MixedPrecision, cpu_gains
from accaware.search.metric import Metric

_CROSS_ENTROPY = ("cross_entropy", "crossentropyloss")


class ImageClassification:
    """A classifier on a dataset, both by name.

    Any method may be overridden: by one for other data, another loss, another augmentation.
    What an overridden method would have needed isn't asked for.

    Args:
        config: its keys ``model``, ``dataset`` and so on, those of TaskConfig.

    Raises:
        TaskError: with everything that these ask for and that isn't there.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.task = config.task or TaskConfig()
        faults = Faults()
        own = type(self)
        self._model = self._data = None
        if own.create_model is ImageClassification.create_model:
            self._model = named_model(self.task, faults)
        if own.create_datasets is ImageClassification.create_datasets:
            self._data = NamedDataset(self.task, faults)
        if own.loss is ImageClassification.loss:
            _check_criterion(self.task, faults)
        shape = config.input_info[0].sample_size if config.input_info else ()
        if shape and (len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]):
            faults.add(
                "input_info",
                f"sample_size {list(shape)} is none of square images: [1, 3, size, size], or "
                "[1, 1, size, size] for grey ones",
            )
            shape = ()
        faults.check()
        self.preprocessing = Preprocessing.of(
            # Of data that aren't known by name, the usual: photographs of many sizes.
            kind=kind_of(self.task.dataset) or KINDS["image_folder"],
            size=shape[2] if shape else None,
            channels=shape[1] if shape else None,
            recipe=self._model.recipe if self._model else None,
        )
        self.precision = MixedPrecision() if self.task.mixed_precision else None
        on_cpu = config.device == "cpu" or not torch.cuda.is_available()
        if self.precision and on_cpu and not cpu_gains():
            print("mixed_precision has no effect: bfloat16 is not faster here", flush=True)
        # Among the plugin's own attributes, where its state is kept from epoch to epoch.
        self.scaler = self.precision.scaler if self.precision else None
        self._compiled = Recompiled() if self.task.compile else None

    def create_model(self) -> nn.Module:
        """With its weights, and with a stem for small images where the images are small."""
        assert self._model is not None
        known = self._data.classes if self._data else self.preprocessing.kind.classes
        classes = self.task.num_classes or known
        if classes is None:
            raise TaskError([("num_classes", "is missing, and nothing else tells it")])
        return self._model.build(classes, self.preprocessing.size, self.preprocessing.channels)

    def create_datasets(self) -> tuple[Any, Any]:
        """(training, validation), of images that are transformed already."""
        assert self._data is not None
        size = self.preprocessing.size
        return (
            self._data.open(train=True, size=size, transform=self.training_transform()),
            self._data.open(train=False, size=size, transform=self.validation_transform()),
        )

    def training_transform(self) -> Transform:
        """Of a PIL image, with the dataset's standard augmentation."""
        return self.preprocessing.training()

    def validation_transform(self) -> Transform:
        """Of a PIL image; the published weights' own where the model has such."""
        return self.preprocessing.validation()

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean cross entropy of (N, K) logits and (N,) classes."""
        return nn.functional.cross_entropy(
            classification.logits_of(outputs),
            classification.checked_classes(targets),
            **self.task.criterion_params,
        )

    def train_epoch(
        self,
        model: nn.Module,
        train_loader: Iterable[Any],
        optimizer: Optimizer,
        compression: classification.Compression,
    ) -> float:
        """One pass over the training data; the mean loss."""
        return classification.train_epoch(
            self._ready(model),
            self._arranged(train_loader),
            optimizer,
            compression,
            self.loss,
            self.precision,
        )

    @classification.by_sample
    def validate(self, model: nn.Module, validation_loader: Iterable[Any]) -> Metric:
        """Top-1 in percent, and of each image whether it is right."""
        batches = self._arranged(validation_loader)
        return classification.validate(self._ready(model), batches, self.precision)

    def _ready(self, model: nn.Module) -> nn.Module:
        if self.task.channels_last:
            # At each epoch anew: going to another rate makes new tensors.
            model = model.to(memory_format=torch.channels_last)
        return self._compiled.of(model) if self._compiled else model

    def _arranged(self, loader: Iterable[Any]) -> Iterator[Any]:
        for batch in loader:
            if self.task.channels_last:
                images, *rest = batch
                yield (images.contiguous(memory_format=torch.channels_last), *rest)
            else:
                yield batch


def _check_criterion(task: TaskConfig, faults: Faults) -> None:
    if task.criterion.lower() not in _CROSS_ENTROPY:
        faults.add(
            "criterion",
            f"{task.criterion} is none of the built-in ones, which is cross_entropy; another loss "
            "needs a plugin that overrides ImageClassification.loss",
        )
    params = dict(task.criterion_params)
    smoothing = params.pop("label_smoothing", 0.0)
    if params:
        names = ", ".join(params)
        faults.add("criterion_params", f"{names}: cross_entropy takes label_smoothing here")
    number = isinstance(smoothing, int | float) and not isinstance(smoothing, bool)
    if not number or not 0 <= smoothing <= 1:
        faults.add("criterion_params", f"label_smoothing {smoothing} is not from 0 to 1")
