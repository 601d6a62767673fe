"""A residual network trained on the digits, compressed in each way that there is."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch import create_compressed_model
from accaware.pytorch.builtin.digits import Digits, DigitsResNet
from tests.pytorch.training.scripts import adaptive, early_exit

PRUNING = {
    "algorithm": "filter_pruning",
    "params": {
        "pruning_target": 0.4,
        "schedule": "baseline",
        "prune_first_conv": True,
        "prune_downsample_convs": True,
    },
}
SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 1, "sparsity_freeze_epoch": 2},
}
INT8 = {"algorithm": "quantization"}
ASYMMETRIC = {"algorithm": "quantization", "preset": "mixed"}
FEW_BITS = {
    "algorithm": "quantization",
    "weights": {"bits": 4, "per_channel": False},
    "activations": {"bits": 6, "mode": "asymmetric"},
}
ASYMMETRIC_WEIGHTS = {"algorithm": "quantization", "weights": {"mode": "asymmetric"}}

MIXES: dict[str, list[dict[str, Any]]] = {
    "pruned": [PRUNING],
    "sparse": [SPARSITY],
    "int8": [INT8],
    "pruned int8": [PRUNING, ASYMMETRIC],
    "sparse few bits": [SPARSITY, FEW_BITS],
    "asymmetric weights": [ASYMMETRIC_WEIGHTS],
}
FLOAT = ("pruned", "sparse")


def validation_data() -> tuple[Tensor, Tensor]:
    """(360, 1, 8, 8) images and (360,) classes."""
    return Digits().create_datasets()[1].tensors


LAYERS = 7
"""Six convolutions and a linear layer; two additions are between them."""


class SmallResNet(DigitsResNet):
    """A block with an identity for a shortcut and one with a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.blocks = self.blocks[:2]
        self.classifier = nn.Linear(2 * width, 10)


@cache
def _trained() -> SmallResNet:
    torch.manual_seed(0)
    model = SmallResNet(12)
    images, classes = Digits().create_datasets()[0].tensors
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(8):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        # Training leaves none of these negative, and nothing forbids it; pruning keeps the largest.
        largest = int(model.blocks[0].conv1.weight.flatten(1).norm(dim=1).argmax())
        model.blocks[0].bn1.weight[largest].neg_()
        model.blocks[1].bn2.weight[1] = 0
    return model.eval()


def trained() -> SmallResNet:
    return copy.deepcopy(_trained())


def compressed(mix: str, model: nn.Module | None = None, epochs: int = 0) -> nn.Module:
    """The trained network after one of MIXES, in evaluation mode.

    Args:
        epochs: of training with all of it in place.
    """
    model = trained() if model is None else model
    sections = MIXES[mix]
    alone = all(section["algorithm"] == "quantization" for section in sections)
    config = early_exit(sections) if alone else adaptive(sections)
    images, classes = Digits().create_datasets()[0].tensors
    batches = list(zip(images.split(64), classes.split(64), strict=True))
    controller, _ = create_compressed_model(model, config, images[:1], batches)
    controller.scheduler.disable()
    controller.compression_rate = controller.maximal_compression_rate if alone else 0.4
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    controller.attach_optimizer(optimizer)
    model.train()
    for _ in range(epochs):
        for inputs, targets in batches:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            controller.scheduler.step()
    return model.eval()


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(images)
    return result
