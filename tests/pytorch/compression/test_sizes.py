"""What is told of each layer adds up to what is told of the model."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from accaware.pytorch import create_compressed_model
from accaware.pytorch.model.inputs import ExampleInputs
from tests.pytorch.training.scripts import SPARSITY, early_exit
from tests.runners.torch_case import PRUNING


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        weight_norm(nn.Conv2d(8, 6, 3)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def test_layers_add_up_to_the_model() -> None:
    config = early_exit([PRUNING, SPARSITY])
    inputs = ExampleInputs((torch.randn(2, 3, 8, 8),), {})
    controller, _ = create_compressed_model(network(), config, inputs)
    controller.algorithm.set_levels([0.5, 0.5])
    layers, sizes = controller.layers(), controller.sizes()
    assert [(each.name, each.kind) for each in layers] == [
        ("0", "Conv2d"),
        ("1", "BatchNorm2d"),
        ("3", "Conv2d"),
        ("7", "Linear"),
    ]
    for quantity in ("parameters", "nonzero_parameters", "flops", "filters"):
        whole = getattr(sizes, quantity)
        parts = [size for each in layers if (size := getattr(each, quantity)) is not None]
        assert sum(part.dense for part in parts) == whole.dense, quantity
        assert sum(part.compressed for part in parts) == whole.compressed, quantity
    assert sizes.filters.compressed < sizes.filters.dense
    assert sizes.nonzero_parameters.compressed < sizes.parameters.compressed
