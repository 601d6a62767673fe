"""The tensors in whatever a forward gives back."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_HOLDS_NONE = (
    str, bytes, bool, type, types.ModuleType, types.FunctionType, types.MethodType,
    types.BuiltinFunctionType, torch.dtype, torch.device, torch.Generator, nn.Module,
)  # fmt: skip
"""What no output is in. A module's parameters aren't what a forward computed."""


def output_tensors(output: Any) -> tuple[Tensor, ...]:
    """All of them, each once, in an order that the structure alone decides.

    Containers are opened, and so are objects: the attributes of dataclasses and plain classes,
    with a ``__dict__`` or ``__slots__``, however deep. Arrays and numbers count as tensors.
    An iterator is used up.
    """
    return tuple(_walk(output, {}))


def _walk(value: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    if value is None or isinstance(value, _HOLDS_NONE) or id(value) in seen:
        return
    if isinstance(value, (int, float, complex)):
        yield torch.tensor(value)
        return
    seen[id(value)] = value  # held, lest another object gets its id
    if isinstance(value, Tensor):
        yield value if value.layout == torch.strided else value.to_dense()
    elif hasattr(value, "__array__"):
        yield from _of_array(value)
    else:
        for part in _parts(value):
            yield from _walk(part, seen)


def _of_array(value: Any) -> Iterator[Tensor]:
    try:
        yield torch.as_tensor(value.__array__())
    except (TypeError, RuntimeError):  # an array of strings or objects
        return


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple, Set, Iterator)):
        yield from value
    elif type(value) in pytree.SUPPORTED_NODES:
        yield from pytree.tree_leaves(value)
    if hasattr(value, "__dict__"):
        yield from vars(value).values()
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield getattr(value, name)
