"""The torchvision models that filter pruning has to get right, small and without randomness."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import nn

from accaware.config.model.config import FilterPruningConfig, FilterPruningParams
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs

SIZES = {
    "resnet18": 64,
    "resnet50": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "densenet121": 64,
    "googlenet": 64,
    "inception_v3": 299,  # its auxiliary head takes nothing smaller
    "efficientnet_b0": 64,
    "convnext_tiny": 32,
    "squeezenet1_1": 64,
    "vgg11_bn": 32,
    "mnasnet0_5": 64,
    "regnet_y_400mf": 64,
    "resnext50_32x4d": 64,
}
_MORE = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}


def make_model(name: str, dtype: torch.dtype = torch.float64, **more: Any) -> nn.Module:
    """Seeded, with 10 classes, without dropout and stochastic depth."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        arguments = {"num_classes": 10, **_MORE.get(name, {}), **more}
        model: nn.Module = getattr(torchvision.models, name)(weights=None, **arguments)
        if name == "vgg11_bn":  # most of its weights are in one layer; a smaller one does
            model.avgpool = nn.AdaptiveAvgPool2d(2)
            model.classifier[0] = nn.Linear(512 * 4, 4096)
        _settle(model)
    return model.to(dtype)


def _settle(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            # As after training: nothing is exactly zero or one.
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.2)
        if hasattr(module, "layer_scale"):
            nn.init.uniform_(module.layer_scale, 0.5, 1.5)


def make_inputs(name: str, dtype: torch.dtype = torch.float64, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    size = SIZES[name]
    return torch.randn((batch, 3, size, size), generator=generator, dtype=torch.float64).to(dtype)


def prune(model: nn.Module, inputs: Any, **params: Any) -> FilterPruning:
    """Filter pruning of all that can be pruned, unless ``params`` say otherwise."""
    everything = {"prune_first_conv": True, "prune_downsample_convs": True}
    config = FilterPruningConfig(params=FilterPruningParams(**{**everything, **params}))
    example = ExampleInputs.of(inputs)
    return FilterPruning(model, config, example, FlopsModel(model, example))
