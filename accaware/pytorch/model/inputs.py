"""Example inputs: whatever a model's forward takes, in one shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.pytorch.model.tensors import tensors_in


@dataclass(frozen=True)
class ExampleInputs:
    """Positional and keyword arguments for a forward call, batch first."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, inputs: Any) -> ExampleInputs:
        """A tensor, a sequence of positional arguments, or a mapping of keyword arguments."""
        if isinstance(inputs, ExampleInputs):
            return inputs
        if isinstance(inputs, Mapping):
            return cls((), dict(inputs))
        if isinstance(inputs, Sequence):
            return cls(tuple(inputs), {})
        return cls((inputs,), {})

    def call(self, model: nn.Module) -> Any:
        """What the model gives for them."""
        return model(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """All of them, within lists and mappings too, in the order of ``mapped``."""
        return list(tensors_in((self.args, dict(self.kwargs))))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> ExampleInputs:
        """The same with every tensor changed, within lists and mappings too."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return ExampleInputs(args, kwargs)

    def at_twice_the_size(self) -> list[ExampleInputs]:
        """The same with twice as many positions, by each way in which these may lie.

        Channels may be the second dimension (images, signals), or the last one (sequences); of
        whole numbers (B, S) the second are positions. Values are repeated.
        """

        def repeated(tensor: Tensor, first: int, last: int) -> Tensor:
            tokens = tensor.dim() == 2 and not tensor.is_floating_point()
            along = range(1, 2) if tokens else range(first, tensor.dim() - last)
            return tensor.repeat([2 if dim in along else 1 for dim in range(tensor.dim())])

        second = self.mapped(partial(repeated, first=2, last=0))
        last = self.mapped(partial(repeated, first=1, last=1))
        own = [tensor.shape for tensor in self.tensors()]
        return [way for way in (second, last) if [tensor.shape for tensor in way.tensors()] != own]

    def on(self, device: torch.device) -> ExampleInputs:
        """The same inputs, with every tensor on a device."""
        return self.mapped(lambda tensor: tensor.to(device))


def batch_size_of(batch: Any) -> int:
    """The first dimension of the batch's first tensor; 1 where there is none."""
    tensors = tensors_in(batch, any_mapping=True)
    return len(tensors[0]) if tensors and tensors[0].dim() else 1
