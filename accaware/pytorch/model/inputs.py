"""Example inputs: whatever a model's forward takes, in one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


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
        return model(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """All of them, within lists and mappings too, in the order of ``mapped``."""
        leaves = pytree.tree_leaves((self.args, dict(self.kwargs)))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> ExampleInputs:
        """The same with every tensor changed, within lists and mappings too."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return ExampleInputs(args, kwargs)

    def on(self, device: torch.device) -> ExampleInputs:
        return self.mapped(lambda tensor: tensor.to(device))


def batch_size_of(batch: Any) -> int:
    """The first dimension of the batch's first tensor; 1 where there is none."""
    first = next(_tensors_of(batch), None)
    return len(first) if first is not None and first.dim() else 1


def _tensors_of(batch: Any) -> Iterator[Tensor]:
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor):
            yield leaf
        elif isinstance(leaf, Mapping):  # of a type that pytree doesn't know, as transformers' own
            for value in leaf.values():
                yield from _tensors_of(value)
