"""The tensors within nested containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_HOLDS_NONE = frozenset((bool, int, float, str, type(None), torch.Size, torch.dtype, torch.device))


def tensors_in(structure: Any, *, any_mapping: bool = False) -> tuple[Tensor, ...]:
    """All tensors within lists, tuples, dicts and what else torch's pytree knows, in order.

    Args:
        any_mapping: whether mappings that pytree doesn't know are opened too, such as
            transformers' BatchEncoding.
    """
    return tuple(_walk(structure, any_mapping))


def _walk(structure: Any, any_mapping: bool) -> Iterator[Tensor]:
    # Every call of a torch function that is traced comes by here, most with nothing but these.
    kind = type(structure)
    if isinstance(structure, Tensor):
        yield structure
    elif kind is tuple or kind is list:
        for each in structure:
            yield from _walk(each, any_mapping)
    elif kind is dict:
        for each in structure.values():
            yield from _walk(each, any_mapping)
    elif kind not in _HOLDS_NONE:
        for leaf in pytree.tree_leaves(structure):
            if isinstance(leaf, Tensor):
                yield leaf
            elif any_mapping and isinstance(leaf, Mapping):
                for value in leaf.values():
                    yield from _walk(value, any_mapping)
