"""What a user's plugin has, in its forms: functions of a module, and a class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from tests.pairwise.task import (
    BATCH,
    CONFIRMATION,
    EXAMPLE,
    TRAINING,
    VALIDATION,
    forward_in,
    part,
    trained,
)

MADE: list[nn.Module] = []
"""All models that runs began with. A run compresses its own in place."""


def create_model() -> nn.Module:
    MADE.append(trained())
    return MADE[-1]


def create_datasets() -> tuple[Dataset[Any], Dataset[Any]]:
    return part(TRAINING), part(VALIDATION)


def loaders(workers: int, confirmation: str) -> tuple[DataLoader[Any], ...]:
    train, validation = create_datasets()
    kept = [part(CONFIRMATION)] if confirmation == "kept back" else []
    return (
        DataLoader(train, BATCH, shuffle=True, num_workers=workers),
        *(DataLoader(each, 128, num_workers=workers) for each in (validation, *kept)),
    )


def train_epoch(
    model: nn.Module, loader: Iterable[Any], optimizer: Optimizer, compression: Any, precision: str
) -> float:
    model.train()
    loss = torch.zeros(())
    for images, classes in loader:
        with forward_in(precision):
            loss = nn.functional.cross_entropy(model(images), classes) + compression.loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        compression.step()
    return loss.item()


def validate(model: nn.Module, loader: Iterable[Any], precision: str) -> Tensor:
    model.eval()
    right, samples = torch.zeros(()), 0
    with torch.no_grad(), forward_in(precision):
        for images, classes in loader:
            right += (model(images).argmax(1) == classes).sum()
            samples += len(classes)
    return 100 * right / samples


def configure_optimizers(model: nn.Module) -> tuple[Optimizer, Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)


def example_inputs() -> Tensor:
    return EXAMPLE


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Images under noise that torch's generator draws anew each time."""

    def __init__(self, images: Dataset[Any], noise: float) -> None:
        self._images, self._noise = images, noise

    def __len__(self) -> int:
        return len(self._images)  # type: ignore[arg-type]

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        image, label = self._images[at]
        return image + self._noise * torch.randn_like(image), label


class Augmenting:
    """Remembers from epoch to epoch; its passes are its own, its optimizer the config's."""

    def __init__(self, precision: str, noise: float) -> None:
        self.epochs = 0
        self._precision, self._noise = precision, noise

    def create_model(self) -> nn.Module:
        return create_model()

    def create_datasets(self) -> tuple[Dataset[Any], Dataset[Any]]:
        train, validation = create_datasets()
        return Noisy(train, self._noise), validation

    def train_epoch(self, model: nn.Module, loader: Any, optimizer: Any, compression: Any) -> float:
        self.epochs += 1
        loss = train_epoch(model, loader, optimizer, compression, self._precision)
        return loss / self.epochs

    def validate(self, model: nn.Module, loader: Any) -> Tensor:
        return validate(model, loader, self._precision)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]
