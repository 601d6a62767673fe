"""The torchvision models that filter pruning has to get right, small and without randomness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import convnext, efficientnet, regnet, resnet, vgg
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.inception import BasicConv2d

from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes

SIZES = {
    "resnet18": 64,
    "resnet50": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "densenet121": 64,
    "googlenet": 64,
    "inception_v3": 107,
    "efficientnet_b0": 64,
    "convnext_tiny": 32,
    "squeezenet1_1": 64,
    "vgg11_bn": 32,
    "mnasnet0_5": 64,
    "regnet_y_400mf": 64,
    "resnext50_32x4d": 64,
}
_BLOCKS = [1, 2, 1, 1]
"""In each of a residual network's stages: one that downsamples everywhere, one that doesn't."""


def _convnext(**more: Any) -> nn.Module:
    stages = [CNBlockConfig(24, 48, 1), CNBlockConfig(48, 96, 2), CNBlockConfig(96, None, 1)]
    return convnext.ConvNeXt(stages, stochastic_depth_prob=0.1, **more)


def _inception(**more: Any) -> nn.Module:
    """Its auxiliary head takes images of 299 pixels; with a smaller kernel, of 107."""
    model = torchvision.models.inception_v3(init_weights=False, **more)
    model.AuxLogits.conv1 = BasicConv2d(128, 768, kernel_size=1)
    for second_of_a_kind in ("Mixed_5d", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7c"):
        setattr(model, second_of_a_kind, nn.Identity())
    return model


def _googlenet(**more: Any) -> nn.Module:
    model = torchvision.models.googlenet(init_weights=False, **more)
    for second_of_a_kind in ("inception4b", "inception4c", "inception5a"):
        setattr(model, second_of_a_kind, nn.Identity())
    return model


def _vgg(**more: Any) -> nn.Module:
    with torch.device("meta"):  # most of its weights are in one layer; smaller ones do
        model = vgg.VGG(nn.Identity(), **more)
    widths = [16, "M", 32, "M", 64, 64, "M", 128, 128, "M"]
    model.features = vgg.make_layers(widths, batch_norm=True)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    for at, sizes in {0: (128 * 4, 256), 3: (256, 256), 6: (256, more["num_classes"])}.items():
        model.classifier[at] = nn.Linear(*sizes)
    return model


def _efficientnet(**more: Any) -> nn.Module:
    rows = [(1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 1)]
    settings = [MBConvConfig(*row) for row in rows]
    return efficientnet.EfficientNet(settings, dropout=0.2, **more)


def _mobilenet_v2(**more: Any) -> nn.Module:
    rows = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 2, 1]]
    return torchvision.models.MobileNetV2(inverted_residual_setting=rows, **more)


def _regnet(**more: Any) -> nn.Module:
    sizes = {"depth": 8, "w_0": 48, "w_a": 55.78, "w_m": 2.09, "group_width": 8}
    return regnet.RegNet(regnet.BlockParams.from_init_params(**sizes, se_ratio=0.25), **more)


_SMALLER: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(resnet.ResNet, resnet.BasicBlock, _BLOCKS),
    "resnet50": partial(resnet.ResNet, resnet.Bottleneck, _BLOCKS, width_per_group=32),
    "resnext50_32x4d": partial(
        resnet.ResNet, resnet.Bottleneck, _BLOCKS, groups=32, width_per_group=4
    ),
    "densenet121": partial(torchvision.models.DenseNet, 16, (3, 4, 3, 2), 32),
    "googlenet": _googlenet,
    "inception_v3": _inception,
    "efficientnet_b0": _efficientnet,
    "mobilenet_v2": _mobilenet_v2,
    "regnet_y_400mf": _regnet,
    "convnext_tiny": _convnext,
    "vgg11_bn": _vgg,
}
"""Of the same layers as torchvision's network of the name, but fewer or narrower ones."""


def make_model(name: str, dtype: torch.dtype = torch.float64, **more: Any) -> nn.Module:
    """Seeded, with 10 classes, without dropout and stochastic depth."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build = _SMALLER.get(name) or partial(getattr(torchvision.models, name), weights=None)
        model: nn.Module = build(**{"num_classes": 10, **more})
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


def prune(
    model: nn.Module, inputs: Any, *, by_flops: bool = False, across_layers: bool = False
) -> FilterPruning:
    """Filter pruning of all that can be pruned."""
    example = ExampleInputs.of(inputs)
    return FilterPruning(
        model,
        Scopes(model, None, ()),
        example,
        flops=FlopsModel(model, example) if by_flops else None,
        across_layers=across_layers,
        prune_first_conv=True,
        prune_downsample_convs=True,
    )
