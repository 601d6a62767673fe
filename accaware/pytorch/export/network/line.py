"""A batch norm that is evaluated: a factor and an offset for each channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Line:
    """What a batch norm computes when evaluated: ``factor * x + offset`` in each channel.

    Attributes:
        factor: (C,) in double precision.
        offset: the same.
    """

    factor: Tensor
    offset: Tensor

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> Line:
        """By the numbers of a batch norm that keeps statistics."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            factor = factor * norm.weight.detach().double()
        offset = -norm.running_mean.double() * factor
        if norm.bias is not None:
            offset = offset + norm.bias.detach().double()
        return cls(factor, offset)

    def on(self, tensor: Tensor) -> Tensor:
        """Of an (N, C, ...) tensor in double precision; if it has no such channels, of nothing."""
        shape = (-1, *(1 for _ in tensor.shape[2:]))
        return tensor.double() * self.factor.view(shape) + self.offset.view(shape)

    def inverse(self) -> Line:
        """The line back; a channel that is multiplied by zero is left where it is."""
        factor = torch.where(self.factor == 0, 1.0, 1 / self.factor)
        return Line(factor, -self.offset * factor)


def scale_layer(layer: nn.Module, line: Line) -> None:
    """Let the layer give what the line makes of its output, by its weight and bias."""
    weight, bias = layer._parameters["weight"], layer._parameters["bias"]
    assert weight is not None
    shape = (-1, *(1 for _ in weight.shape[1:]))
    offset = line.offset
    if bias is not None:
        offset = offset + bias.detach().double() * line.factor
    scaled = (weight.detach().double() * line.factor.view(shape)).to(weight.dtype)
    layer.weight = nn.Parameter(scaled, requires_grad=False)
    layer.bias = nn.Parameter(offset.to(weight.dtype), requires_grad=False)
