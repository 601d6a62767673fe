"""First layers for images of about 32x32, which the classifiers' own shrink to almost nothing.

As is the custom for CIFAR (He et al., "Deep Residual Learning for Image Recognition", 2015,
section 4.2): a first convolution that keeps the size, and no pooling behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision import models

SMALL = 64
"""Images up to this size get such a stem."""


def with_small_stem(model: nn.Module) -> str | None:
    """Change the stem in place.

    Returns:
        What was changed, for the log; None where there is no such stem for this model.
    """
    match model:
        case models.ResNet():
            model.conv1 = _narrow(model.conv1)
            model.maxpool = nn.Identity()
            return "a 3x3 convolution of stride 1, no pooling"
        case models.DenseNet():
            model.features.conv0 = _narrow(model.features.conv0)
            model.features.pool0 = nn.Identity()
            return "a 3x3 convolution of stride 1, no pooling"
        case models.GoogLeNet():
            model.conv1.conv = _narrow(model.conv1.conv)
            model.maxpool1 = nn.Identity()
            return "a 3x3 convolution of stride 1, no pooling"
        case models.ShuffleNetV2():
            model.conv1[0].stride = (1, 1)
            model.maxpool = nn.Identity()
            return "a first convolution of stride 1, no pooling"
        case models.MobileNetV2():
            # The second stage too, as usual for this model on CIFAR; where it is depends on
            # inverted_residual_setting.
            strided = [
                layer
                for layer in model.features.modules()
                if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1)
            ][:2]
            for layer in strided:
                layer.stride = (1, 1)
            second = " and a second stage" if len(strided) > 1 else ""
            return f"a first convolution{second} of stride 1"
        case models.RegNet():
            model.stem[0].stride = (1, 1)
            return "a first convolution of stride 1"
        case models.MobileNetV3() | models.EfficientNet():
            model.features[0][0].stride = (1, 1)
            return "a first convolution of stride 1"
        case models.MNASNet():
            model.layers[0].stride = (1, 1)
            return "a first convolution of stride 1"
    return None


def with_grey_input(model: nn.Module) -> None:
    """Let the first convolution of a model for colour images take grey ones, in place.

    Its kernels are summed: an image gives what it gave as one of three equal channels.
    """
    for parent in model.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d):
                new = _like(layer, 1, layer.kernel_size, layer.stride, layer.padding)
                with torch.no_grad():
                    new.weight.copy_(layer.weight.sum(1, keepdim=True))
                    if new.bias is not None and layer.bias is not None:
                        new.bias.copy_(layer.bias)
                setattr(parent, name, new)
                return


def _narrow(layer: nn.Conv2d) -> nn.Conv2d:
    new = _like(layer, layer.in_channels, (3, 3), (1, 1), (1, 1))
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


def _like(layer: nn.Conv2d, channels: int, kernel: Any, stride: Any, padding: Any) -> nn.Conv2d:
    """A new convolution with the layer's filters and bias."""
    bias = layer.bias is not None
    return nn.Conv2d(channels, layer.out_channels, kernel, stride, padding, bias=bias)
