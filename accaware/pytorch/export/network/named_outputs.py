"""The tensors among a model's outputs, and what each is called."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.pytorch.export.network.stand_in import with_forward

_Change = Callable[[str, Tensor], Tensor]


def named_tensors(outputs: Any) -> list[tuple[str, Tensor]]:
    """All of them, with the keys, fields and positions that lead there, joined by dots.

    The only output is called ``output``, those of a sequence ``output_0`` and so on; those of a
    mapping, a named tuple or an object as they are called there. No two have the same name.
    """
    found: list[tuple[str, Tensor]] = []

    def note(name: str, tensor: Tensor) -> Tensor:
        found.append((name, tensor))
        return tensor

    _mapped(outputs, (), note, set())
    taken: set[str] = set()
    return [(free_name(name, taken), tensor) for name, tensor in found]


def with_tensors(outputs: Any, tensors: Iterator[Tensor]) -> Any:
    """The same outputs with other tensors, in the order of ``named_tensors``."""
    return _mapped(outputs, (), lambda _, __: next(tensors), set())


def giving_named(model: nn.Module) -> nn.Module:
    """The model with a forward that gives a mapping of its outputs' names to the tensors alone.

    Each is a tensor of its own there, also where the model gives one twice, or an input.
    """

    @wraps(model.forward)
    def forward(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
        known = {id(leaf) for leaf in pytree.tree_leaves((args, kwargs))}
        found = {}
        for name, tensor in named_tensors(model(*args, **kwargs)):
            found[name] = tensor.clone() if id(tensor) in known else tensor
            known.add(id(tensor))
        return found

    return with_forward(model, forward)


def is_tree(outputs: Any) -> bool:
    """Whether torch itself finds all that is in there."""
    plain = (Tensor, bool, int, float, str, type(None))
    return all(isinstance(leaf, plain) for leaf in pytree.tree_leaves(outputs))


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; now it is."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free)
    return free


def _mapped(value: Any, path: tuple[str, ...], change: _Change, above: set[int]) -> Any:
    if isinstance(value, Tensor):
        return change(_name(path), value)
    if id(value) in above or isinstance(value, (type, nn.Module)):
        return value
    above = above | {id(value)}

    def inner(key: Any, part: Any) -> Any:
        return _mapped(part, (*path, str(key)), change, above)

    if isinstance(value, Mapping):
        made = copy.copy(value) if hasattr(value, "__setitem__") else dict(value)
        for key in list(value):
            made[key] = inner(key, value[key])
        return made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(inner, value._fields, value))
    if isinstance(value, (list, tuple)):
        return type(value)([inner(at, part) for at, part in enumerate(value)])
    if type(value) in pytree.SUPPORTED_NODES:
        leaves, structure = pytree.tree_flatten(value)
        return pytree.tree_unflatten([inner(at, leaf) for at, leaf in enumerate(leaves)], structure)
    return _object(value, inner)


def _object(value: Any, inner: Callable[[Any, Any], Any]) -> Any:
    """Of a dataclass or any other class: a copy with its attributes changed."""
    names: Sequence[str] = ()
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
        names = list(vars(value))
    if not names:
        return value
    made = copy.copy(value)
    for name in names:
        object.__setattr__(made, name, inner(name, getattr(value, name)))
    return made


def _name(path: tuple[str, ...]) -> str:
    if not path:
        return "output"
    first = f"output_{path[0]}" if path[0].isdecimal() else path[0]
    return ".".join((first, *path[1:]))
