"""A LightningModule and a data module of a user who never heard of accaware."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy


class LitNet(lightning.LightningModule):
    def __init__(self, width: int = 8, learning_rate: float = 0.02) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(4 * width, 10),
        )  # fmt: skip
        self.accuracy = MulticlassAccuracy(10, average="micro")
        self.epochs_seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        images, classes = batch
        loss = nn.functional.cross_entropy(self(images), classes)
        self.log("train_loss", loss, prog_bar=True)
        return {"loss": loss}

    def on_train_epoch_end(self) -> None:
        self.epochs_seen.append(self.current_epoch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, classes = batch
        logits = self(images)
        self.accuracy(logits, classes)
        self.log("val_acc", self.accuracy)
        self.log("val_loss", nn.functional.cross_entropy(logits, classes))

    def on_validation_epoch_end(self) -> None:
        self.log("double", 2 * self.accuracy.compute())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), self.hparams["learning_rate"], momentum=0.9)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Data(lightning.LightningDataModule):
    def setup(self, stage: str) -> None:
        images, classes = load_digits(return_X_y=True)
        pixels = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        self.pixels, self.classes = pixels, torch.as_tensor(classes)

    def part(self, first: int, last: int, shuffle: bool = False) -> DataLoader[Any]:
        data = TensorDataset(self.pixels[first:last], self.classes[first:last])
        return DataLoader(data, 64, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.part(0, 449, shuffle=True)  # 7 batches and a single image

    def val_dataloader(self) -> DataLoader[Any]:
        return self.part(500, 650)


class AsksForLength(LitNet):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        steps = self.trainer.estimated_stepping_batches
        return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, int(steps))]


class ByHand(LitNet):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Clips(LitNet):
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)


class TwoOptimizers(LitNet):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), 0.1), torch.optim.Adam(self.parameters())]


class WithoutForward(lightning.LightningModule):
    def training_step(self, batch: Any) -> Any: ...

    def validation_step(self, batch: Any) -> Any: ...

    def configure_optimizers(self) -> Any: ...
