"""A plugin whose every part is random, and has a state of its own: what resuming has to restore.

Data are augmented by Python's, NumPy's and torch's generators, the model drops activations, the
optimizer has momentum and two schedules, and the plugin counts.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from accaware.pytorch.training import classification

SAMPLES = 96


class Noisy(Dataset[tuple[Tensor, int]]):
    """(1, 8, 8) images of 4 classes: a bright quarter in noise."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._classes = torch.randint(4, (SAMPLES,), generator=generator)
        self._images = torch.randn(SAMPLES, 1, 8, 8, generator=generator) * 0.8
        for image, kind in zip(self._images, self._classes.tolist(), strict=True):
            row, column = divmod(kind, 2)
            image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        noise = random.random() + np.random.rand() + float(torch.rand(()))
        return self._images[at] + 0.1 * noise, int(self._classes[at])


class Tiny:
    def __init__(self, fails_at: int = 0, loss: float | None = None) -> None:
        self.epochs = 0
        self._fails_at = fails_at
        self._loss = loss

    def create_model(self) -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * 16, 4),
        )

    def create_datasets(self) -> tuple[Noisy, Noisy]:
        return Noisy(0), Noisy(1)

    def configure_optimizers(self, model: nn.Module) -> Any:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        step = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], gamma=0.5)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return optimizer, [step, plateau]

    def train_epoch(self, model: nn.Module, loader: Any, optimizer: Any, compression: Any) -> float:
        self.epochs += 1
        if self.epochs == self._fails_at:
            raise ValueError("the plugin fails")
        scaled = classification.train_epoch(
            model, loader, optimizer, compression, classification.cross_entropy
        )
        return scaled * (1 + self.epochs / 100) if self._loss is None else self._loss

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


class Likely(Tiny):
    """Its metric is the mean log-likelihood, which no two networks share.

    Before any training it is said to be 0, so that a search for no loss goes on to its end.
    """

    def validate(self, model: nn.Module, loader: Any) -> float:
        if not self.epochs:
            return 0.0
        model.eval()
        with torch.no_grad():
            losses = [nn.functional.cross_entropy(model(x), y) for x, y in loader]
        return -float(torch.stack(losses).mean())
