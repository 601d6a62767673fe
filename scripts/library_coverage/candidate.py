"""A model of a library that can be built again and again, and inputs for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor, nn

from accaware.pytorch import fold_computed_weights
from accaware.pytorch.model.inputs import ExampleInputs

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Candidate:
    """A model, small where its library allows it.

    Attributes:
        make: builds it, with random weights.
        inputs: of two samples, as small as the model takes.
        larger: of another size; None where the library's models take one size only.
        published: the model as it is published, and inputs of the published size, by which FLOPs
            are counted; None where ``make`` gives that.
    """

    make: Make
    inputs: ExampleInputs
    larger: ExampleInputs | None = None
    published: tuple[Make, ExampleInputs] | None = None

    def build(self) -> nn.Module:
        """The same weights each time; as after training, nothing is exactly zero or one.

        Standardised weights are folded, as ``timm/...`` and ``hf/...`` in a config do it.
        """
        seed(0)
        model = self.make()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                _spread(module)
            elif isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
        for parameter in model.parameters():
            if not parameter.is_meta and parameter.numel() and parameter.min() == parameter.max():
                nn.init.normal_(parameter, std=0.5)
        fold_computed_weights(model, self.one)
        return model.eval()

    @property
    def one(self) -> ExampleInputs:
        """The first sample."""
        return self.inputs.mapped(lambda tensor: tensor[:1] if tensor.dim() else tensor)


class Library(Protocol):
    """Models by name."""

    def names(self) -> Sequence[str]:
        """One or two of the smallest of every family, or all where they are few."""

    def candidate(self, name: str) -> Candidate:
        """A model that isn't built yet."""


def seed(number: int) -> None:
    """For all that a builder may draw from."""
    random.seed(number)
    numpy.random.seed(number)
    torch.manual_seed(number)


def images(side: int, channels: int = 3, samples: int = 2) -> ExampleInputs:
    """(samples, channels, side, side) of noise."""
    return ExampleInputs.of(noise(samples, channels, side, side))


def noise(*shape: int) -> Tensor:
    """The same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def takes(make: Make, inputs: ExampleInputs) -> bool:
    """Whether a model can be built and takes these; tried without memory or time."""
    try:
        with torch.no_grad(), torch.device("meta"):
            inputs.on(torch.device("meta")).call(make().eval())
    except Exception:  # noqa: BLE001 - whatever it says, it doesn't
        return False
    return True


def _spread(norm: Any) -> None:
    for tensor in (norm.weight, norm.running_var):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.5, 1.5)
    for tensor in (norm.bias, norm.running_mean):
        if tensor is not None:
            nn.init.normal_(tensor, std=0.2)
