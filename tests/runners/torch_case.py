"""A small convolutional network on scikit-learn's digits, in PyTorch: real training.

One thread, so that sums come out the same each time, whatever else the machine does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from accaware import AccAwareConfig
from accaware.pytorch import create_compressed_model
from accaware.search.params import AdaptiveParams
from accaware.search.ports import TrainingCallbacks
from tests.runners.base import Case

BATCH = 64
TRAINING_IMAGES = 1200


class TinyNet(nn.Module):
    """(N, 1, 8, 8) images -> (N, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).amax(dim=(2, 3)))
        return logits


@cache
def digits() -> tuple[Tensor, Tensor]:
    """(1797, 1, 8, 8) images and (1797,) classes, in an order that mixes the writers."""
    images, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    pixels = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return (pixels[order] - 8) / 8, torch.as_tensor(classes)[order]


def train(
    controller: Any,
    model: nn.Module,
    *,
    epoch: int,
    optimizer: Any,
    lr_scheduler: Any = None,
    images_each: int = TRAINING_IMAGES,
) -> float:
    """One epoch; the mean cross entropy.

    Args:
        controller: None for the dense model.
        images_each: of an epoch, drawn anew.
    """
    images, classes = (part[:TRAINING_IMAGES] for part in digits())
    order = torch.randperm(TRAINING_IMAGES, generator=torch.Generator().manual_seed(epoch))
    order = order[:images_each]
    model.train()
    losses = []
    for batch in order.split(BATCH):
        loss = nn.functional.cross_entropy(model(images[batch]), classes[batch])
        if controller is not None:
            loss = loss + controller.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if controller is not None:
            controller.scheduler.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def accuracy(model: nn.Module, epoch: int = 0) -> float:
    images, classes = (part[TRAINING_IMAGES:] for part in digits())
    model.eval()
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    return float((predicted == classes).double().mean())


@cache
def _trained() -> TinyNet:
    torch.manual_seed(0)
    model = TinyNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(10):
        train(None, model, epoch=epoch, optimizer=optimizer)
    return model


def trained_model() -> TinyNet:
    """A copy of the dense network after ten epochs."""
    torch.set_num_threads(1)
    return copy.deepcopy(_trained())


PRUNING: dict[str, Any] = {
    "algorithm": "filter_pruning",
    "params": {
        "schedule": "baseline",
        "pruning_target": 0.4,
        "prune_first_conv": True,
        "prune_downsample_convs": True,
    },
}


def make_case() -> Case:
    """Filter pruning, with 2 points of accuracy to lose."""
    return case_of(PRUNING, removed, closeness=1 / 32)


def removed(model: nn.Module) -> float:
    """The share of the convolutions' filters that is gone."""
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    return 1 - sum(len(convolution.weight) for convolution in convolutions) / (16 + 24)


def case_of(
    compression: Any, measure: Callable[[nn.Module], float], closeness: float, **more: Any
) -> Case:
    """``more`` are parameters of the search."""
    model = trained_model()
    baseline = accuracy(model)
    params = {
        "maximal_absolute_accuracy_degradation": 0.02,
        "initial_training_phase_epochs": 3,
        "patience_epochs": 2,
        "stop_trial_when_within_budget": True,
        **more,
    }
    config = AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {"mode": "adaptive_compression_level", "params": params},
            "compression": compression,
        }
    )
    images, classes = (part[:TRAINING_IMAGES] for part in digits())
    batches = list(zip(images.split(BATCH), classes.split(BATCH), strict=True))
    controller, _ = create_compressed_model(model, config, torch.zeros(1, 1, 8, 8), batches)
    assert isinstance(config.accuracy_aware_training, AdaptiveParams)
    return Case(
        model=model,
        controller=controller,
        callbacks=TrainingCallbacks(
            train_epoch_fn=partial(train, images_each=8 * BATCH),
            validate_fn=accuracy,
            configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.01),
        ),
        params=config.accuracy_aware_training,
        baseline=baseline,
        measure=lambda: measure(model),
        learning_rate=lambda optimizer: optimizer.param_groups[0]["lr"],
        closeness=closeness,
    )
