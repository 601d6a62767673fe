"""Small networks whose modules or tensors have several names, or tensors that no state dict has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.pytorch.channels.odd_models import Graph, conv, head


def block() -> nn.Module:
    return nn.Sequential(conv(8, 24), nn.BatchNorm2d(24), nn.ReLU(), conv(24, 8), nn.ReLU())


def module_under_two_names() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.again(m.block(m.stem(x))))

    model = Graph(forward, stem=conv(3, 8), block=block(), head=head(8))
    model.again = model.block
    return model


def block_twice_in_a_list() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for each in m.blocks:
            x = each(x)
        return m.head(x)

    once = block()
    blocks = nn.ModuleList([once, block(), once])
    return Graph(forward, stem=conv(3, 8), blocks=blocks, head=head(8))


def slice_of_a_sequential() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        early = m.stem(x)
        return m.head(m.backbone[3:](early)) + early.mean()

    backbone = nn.Sequential(conv(3, 12), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 10), nn.ReLU())
    model = Graph(forward, backbone=backbone, head=head(10))
    model.stem = backbone[:3]
    return model


def tied_layers() -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.first(m.stem(x).relu()).relu()
        return m.head(m.third(m.second(y).relu()).relu())

    layers = {"stem": conv(3, 10), "first": conv(10, 12)}
    layers |= {"second": conv(12, 12), "third": conv(12, 12)}
    model = Graph(forward, **layers, head=head(12))
    model.third.weight = model.second.weight
    return model


def tied_from_the_inside() -> nn.Module:
    """The parameter that is held first is some other module's attribute."""

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.tail(m.middle(m.first(x).relu()).relu()) + m.kept.sum()

    first, middle = conv(3, 12), conv(12, 8)
    model = Graph(forward, tail=head(8), first=first, middle=middle)
    model.kept = middle.bias
    return model


class Scaled(nn.Module):
    """Buffers with a value for each channel, of which no state dict tells."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv(3, 12), conv(12, 8), head(8)
        scale = torch.rand(1, 12, 1, 1, generator=torch.Generator().manual_seed(1)) + 0.5
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", torch.zeros(12, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu() * self.scale + self.shift * self.scale
        result: Tensor = self.head(self.second(x).relu())
        return result


MODELS = {
    make.__name__: make
    for make in (
        module_under_two_names,
        block_twice_in_a_list,
        slice_of_a_sequential,
        tied_layers,
        tied_from_the_inside,
        Scaled,
    )
}
