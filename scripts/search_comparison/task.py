"""What a task is: data in three parts, a network, and how it is trained until it is dense."""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from accaware.pytorch.training import classification
from accaware.pytorch.training.plugin_ranking import IdleCompression

BATCH = 64
CPU = torch.device("cpu")
DRAWS = 1000
"""Of a bootstrap."""


@dataclass(frozen=True)
class Parts:
    """Samples to train on, those that a search validates on, and those that it never sees."""

    train: TensorDataset
    seen: TensorDataset
    unseen: TensorDataset


@dataclass(frozen=True)
class Dense:
    """A trained dense model.

    Attributes:
        seen, unseen: its metric on each half of the validation data.
        epoch_seconds: of the CPU, for one epoch of its training, in the mean.
    """

    weights: Mapping[str, Tensor]
    seen: float
    unseen: float
    epoch_seconds: float


class Task(ABC):
    """A plugin whose dense model is trained once for each seed and kept in a folder.

    This base is for classification. A task of another kind offers more functions of a plugin.

    Args:
        seed: of the dense model's weights, of its training, and of the halves of the validation
            data; what it is trained on is the same for all.
    """

    name: ClassVar[str]
    metric: ClassVar[Mapping[str, Any]] = {"name": "top1", "higher_is_better": True}
    distillation: ClassVar[str] = "softmax"
    """The loss between both models' outputs that fits the task."""
    optimizer: ClassVar[Mapping[str, Any]] = {
        "type": "SGD",
        "base_lr": 0.01,
        "optimizer_params": {"momentum": 0.9},
    }
    """What a search trains with, in the words of a config."""
    dense_epochs: ClassVar[int]
    dense_lr: ClassVar[float] = 0.05
    """What the dense model is trained with; then its learning rate falls to 0 along a cosine."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.parts = self._halved(self.make_parts())
        self._dense: Dense | None = None

    @abstractmethod
    def network(self) -> nn.Module:
        """An untrained one."""

    @abstractmethod
    def make_parts(self) -> Parts:
        """The data, the same each time."""

    def _halved(self, parts: Parts) -> Parts:
        """Other halves of the validation data for each seed.

        Were they the same, one that happens to be the easier would be so in each search, and
        that be taken for the searches' luck.
        """
        pairs = zip(parts.seen.tensors, parts.unseen.tensors, strict=True)
        columns = [torch.cat(pair) for pair in pairs]
        order = torch.randperm(len(columns[0]), generator=torch.Generator().manual_seed(self.seed))
        halves = order.split([len(parts.seen), len(parts.unseen)])
        seen, unseen = (TensorDataset(*(each[half] for each in columns)) for half in halves)
        return Parts(parts.train, seen, unseen)

    def dense_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            model.parameters(), self.dense_lr, momentum=0.9, weight_decay=5e-4, nesterov=True
        )

    def create_model(self) -> nn.Module:
        """For a search: the trained one."""
        assert self._dense is not None, "load_dense comes first"
        model = self.network()
        model.load_state_dict(copy.deepcopy(self._dense.weights))
        return model

    def create_datasets(self) -> tuple[TensorDataset, TensorDataset]:
        """For a search: what it may see."""
        return self.parts.train, self.parts.seen

    def samples(self, model: nn.Module, loader: Iterable[Any]) -> Tensor:
        """(N,) what the metric is made of: here 1 for a right answer and 0 for a wrong one."""
        model.eval()
        with torch.no_grad():
            right = [model(images).argmax(dim=1) == classes for images, classes in loader]
        return torch.cat(right).double()

    def metric_of(self, samples: Tensor) -> float:
        """The metric of (N,) samples; here top-1 in percent."""
        return 100 * samples.mean().item()

    def measure(self, model: nn.Module, data: TensorDataset) -> float:
        """The metric, as a search measures it."""
        return self.metric_of(self.samples(model, DataLoader(data, BATCH)))

    def against_dense(self, model: nn.Module, data: TensorDataset) -> tuple[float, float]:
        """The model's metric, and the standard error of its difference from the dense one's.

        By a bootstrap over samples, each of which takes both models' results along.
        """
        own, dense = (
            self.samples(each, DataLoader(data, BATCH)) for each in (model, self.create_model())
        )
        random = torch.Generator().manual_seed(0)
        draws = torch.randint(len(own), (DRAWS, len(own)), generator=random)
        differences = [self.metric_of(own[draw]) - self.metric_of(dense[draw]) for draw in draws]
        return self.metric_of(own), statistics.stdev(differences)

    def load_dense(self, folder: Path) -> Dense:
        """The dense model of this seed out of ``folder``; trained first where it isn't there."""
        sources = (Path(inspect.getfile(type(self))), Path(__file__))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
        file = folder / f"{self.name}-{self.seed}-{digest[:12]}.pt"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            draft = file.with_suffix(f".{os.getpid()}")
            torch.save(vars(self._trained()), draft)
            draft.replace(file)
        self._dense = Dense(**torch.load(file, weights_only=True))
        return self._dense

    def _trained(self) -> Dense:
        torch.manual_seed(self.seed)
        model = self.network()
        train: Callable[..., float] = getattr(self, "train_epoch", classification.train_epoch)
        loader: Iterable[Any] = DataLoader(self.parts.train, BATCH, shuffle=True, drop_last=True)
        optimizer = self.dense_optimizer(model)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.dense_epochs)
        began = time.process_time()
        for _ in range(self.dense_epochs):
            train(model, loader, optimizer, IdleCompression(CPU))
            schedule.step()
        seconds = (time.process_time() - began) / self.dense_epochs
        return Dense(
            weights=model.state_dict(),
            seen=self.measure(model, self.parts.seen),
            unseen=self.measure(model, self.parts.unseen),
            epoch_seconds=seconds,
        )
