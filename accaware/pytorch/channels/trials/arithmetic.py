"""In which numbers a trial is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.layout import KeptIndices

_LARGE = 2**14
"""Elements from which on a parameter stays in single precision where it lies."""


@dataclass(frozen=True)
class Arithmetic:
    """A precision, and what is to be known of a model's tensors in it.

    A large parameter is a double only while a function works with it, so that a model in double
    precision takes little more memory than one in single.

    Attributes:
        dtype: of what is computed.
        narrow: ids of parameters that lie in single precision.
        kept: ids of tensors of which some is zero -> what isn't.
    """

    dtype: torch.dtype
    narrow: frozenset[int] = frozenset()
    kept: Mapping[int, KeptIndices] = field(default_factory=dict)

    def widened(self, value: Any) -> Any:
        """Arguments of a function, with the parameters among them in ``dtype``."""
        if not self.narrow:
            return value
        if id(value) in self.narrow:
            return value.detach().to(self.dtype)
        kind = type(value)
        if kind is tuple or kind is list:
            return kind(self.widened(each) for each in value)
        if kind is dict:
            return {key: self.widened(each) for key, each in value.items()}
        return value


def convert(model: nn.Module, dtype: torch.dtype) -> Arithmetic:
    """Put the model into a precision, in place.

    Returns:
        What it is to be computed in.
    """
    double = dtype == torch.float64
    narrow = frozenset(map(id, _watched(model))) if double else frozenset()

    def converted(tensor: Tensor) -> Tensor:
        stays = id(tensor) in narrow or not tensor.is_floating_point()
        return tensor if stays else tensor.to(dtype)

    model._apply(converted)  # type: ignore[no-untyped-call]
    return Arithmetic(dtype, narrow)


def _watched(model: nn.Module) -> list[nn.Parameter]:
    """Large parameters that only torch functions take.

    A scripted module takes its own unseen, and a recurrent one compares their type to its input's.
    """
    unseen = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, (torch.jit.ScriptModule, nn.RNNBase))
        for parameter in module.parameters()
    }
    return [
        each
        for each in model.parameters()
        if each.dtype == torch.float32 and each.numel() >= _LARGE and id(each) not in unseen
    ]
