"""A LightningModule that never heard of several processes, and notes what it saw in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassAccuracy

from tests.torchrun.plugins import Fixed, digest_of


class Net(lightning.LightningModule):
    """Without batch norms, which would make a difference of how a batch is shared out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
            nn.Conv2d(12, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * 16, 4),
        )  # fmt: skip
        self.temperature = nn.Parameter(torch.ones(()))
        self.accuracy = MulticlassAccuracy(4, average="micro")
        self.counted = SumMetric()
        self.seen: list[float] = []
        self.epochs = 0

    def note(self, **seen: Any) -> None:
        with Path(f"{self.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(seen) + "\n")

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any) -> Any:
        """The temperature is of its own, and no part of the model that is called."""
        images, classes = batch
        self.seen += images.sum((1, 2, 3)).tolist()
        return nn.functional.cross_entropy(self(images) / self.temperature, classes)

    def on_train_epoch_end(self) -> None:
        self.epochs += 1
        trainer = self.trainer
        self.note(
            trained=digest_of(self),
            temperature=self.temperature.item(),
            samples=self.seen,
            place=[
                trainer.world_size,
                trainer.num_devices,
                self.local_rank,
                trainer.is_global_zero,
            ],
        )
        self.seen = []

    def validation_step(self, batch: Any) -> None:
        images, classes = batch
        logits = self(images)
        self.seen += classes.tolist()
        self.accuracy.update(logits, classes)
        self.counted.update(len(classes))
        self.log("likelihood", -nn.functional.cross_entropy(logits, classes), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.note(accuracy=float(self.accuracy.compute()), judged=len(self.seen))
        self.note(counted=int(self.counted.compute()))
        self.accuracy.reset()
        self.counted.reset()
        self.seen = []

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)


class WithSpare(Net):
    """A layer of it isn't used."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class Breaks(WithSpare):
    """Fails once, in the second process, within the third epoch."""

    def training_step(self, batch: Any) -> Any:
        loss = super().training_step(batch)
        broken = Path("broken")
        if self.epochs == 2 and self.global_rank == 1 and not broken.exists():
            broken.touch()
            raise ValueError("the module fails here")
        return loss


class LeavesOut(Net):
    def training_step(self, batch: Any) -> Any:
        return None


class Data(lightning.LightningDataModule):
    def __init__(self, batch_size: int, shuffle: bool = False) -> None:
        super().__init__()
        self._batch_size, self._shuffle = batch_size, shuffle

    def prepare_data(self) -> None:
        with Path("prepared").open("a") as file:
            file.write("once\n")

    def train_dataloader(self) -> Any:
        return DataLoader(Fixed(), self._batch_size, shuffle=self._shuffle)

    def val_dataloader(self) -> Any:
        return DataLoader(Subset(Fixed(), range(70)), 20)
