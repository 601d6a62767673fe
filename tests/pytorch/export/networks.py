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


@cache
def _trained() -> DigitsResNet:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    model = Digits(width=8, epochs=6).create_model()
    torch.set_num_threads(threads)
    assert isinstance(model, DigitsResNet)
    with torch.no_grad():
        # Training leaves none of these negative, and nothing forbids it.
        model.blocks[0].bn1.weight[0].neg_()
        model.blocks[1].bn2.weight[1] = 0
    return model.eval()


def trained() -> DigitsResNet:
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
