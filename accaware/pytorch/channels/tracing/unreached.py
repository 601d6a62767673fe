"""Parameters that no forward reached: what they may read isn't known, so it has to stay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_POOLED = frozenset(side * side for side in range(2, 8))
"""Places of a map that is pooled to at most 7 by 7 before it is flattened."""


@dataclass(frozen=True)
class Unreached:
    """A layer, or a parameter of a module's own, that is waiting for other inputs.

    Attributes:
        name: of the layer; of the parameter where its module was reached.
        scope: the innermost module around it that ran: what is seen there may go into it.
        widths: numbers of channels that it could take or meet.
        flattens: whether it could read whole maps, flattened.
    """

    name: str
    scope: str
    widths: frozenset[int]
    flattens: bool

    def could_read(self, shape: torch.Size, dim: int) -> bool:
        """Whether it could have to do with channels that lie along a dimension."""
        channels = shape[dim]
        if channels in self.widths:
            return True
        places = math.prod(shape[dim + 1 :])
        if not self.flattens or len(shape) < 4 or places < 1:
            return False
        return any(
            width % channels == 0 and width // channels in _POOLED | {places}
            for width in self.widths
        )


def find_unreached(
    model: nn.Module, used: Iterable[str], called: Iterable[str]
) -> tuple[Unreached, ...]:
    """Everything with parameters that no function took.

    Args:
        used: names of parameters that some function took.
        called: names of modules that ran.
    """
    used, called = set(used), set(called)
    modules = dict(model.named_modules())
    found: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        if name in used or _ran_unseen(modules, owner, called):
            continue
        found.setdefault(name if owner in called else owner, []).append(parameter)
    return tuple(
        Unreached(
            name,
            _scope(name, called),
            frozenset(size for tensor in tensors for size in tensor.shape if size > 1),
            isinstance(modules.get(name), nn.Linear),
        )
        for name, tensors in found.items()
    )


def _ran_unseen(modules: dict[str, nn.Module], owner: str, called: set[str]) -> bool:
    """Whether it's a module that needn't use all that it has, or that nobody sees the inside of."""
    if owner in called and type(modules[owner]).__module__.startswith("torch.nn."):
        return True
    names = [owner]
    while names[-1]:
        names.append(names[-1].rpartition(".")[0])
    return any(isinstance(modules[name], torch.jit.ScriptModule) for name in names)


def _scope(name: str, called: set[str]) -> str:
    while name:
        name = name.rpartition(".")[0]
        if name in called:
            break
    return name
