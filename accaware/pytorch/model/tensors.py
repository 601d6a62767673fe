"""The tensors in whatever goes into a forward or comes out of it, and their equality."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

_LEAVES = frozenset((bool, int, float, str, type(None), torch.Size, torch.dtype, torch.device))

_HOLDS_NONE = (
    str, bytes, bool, type, types.ModuleType, types.FunctionType, types.MethodType,
    types.BuiltinFunctionType, torch.dtype, torch.device, torch.Generator, nn.Module,
)  # fmt: skip
"""What no output is in. A module's parameters aren't what a forward computed."""


def tensors_in(structure: Any, *, any_mapping: bool = False) -> tuple[Tensor, ...]:
    """All tensors within lists, tuples, dicts and what else torch's pytree knows, in order.

    Args:
        any_mapping: whether mappings that pytree doesn't know are opened too, such as
            transformers' BatchEncoding.
    """
    return tuple(_nested(structure, any_mapping))


def _nested(structure: Any, any_mapping: bool) -> Iterator[Tensor]:
    # Every call of a torch function that is traced comes by here, most with nothing but these.
    kind = type(structure)
    if isinstance(structure, Tensor):
        yield structure
    elif kind is tuple or kind is list:
        for each in structure:
            yield from _nested(each, any_mapping)
    elif kind is dict:
        for each in structure.values():
            yield from _nested(each, any_mapping)
    elif kind not in _LEAVES:
        for leaf in pytree.tree_leaves(structure):
            if isinstance(leaf, Tensor):
                yield leaf
            elif any_mapping and isinstance(leaf, Mapping):
                for value in leaf.values():
                    yield from _nested(value, any_mapping)


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


def same_bits(mine: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors are of one type and shape and hold the same values; NaN equals NaN."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape or mine.layout != theirs.layout:
        return False
    if mine.layout != torch.strided:
        mine, theirs = mine.to_dense(), theirs.to_dense()
    equal = mine == theirs
    if mine.is_floating_point() or mine.is_complex():
        equal |= mine.isnan() & theirs.isnan()
    return bool(equal.all())
