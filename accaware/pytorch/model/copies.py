"""Copies of models, whatever their modules hold, and copies whose tensors change on the way.

Copied module by module, so that what can't be copied is known by its name. Tensors that are no
parameters, which copy.deepcopy refuses where they come out of a computation, are copied as values;
handles of the system (locks, open files, CUDA's events) are shared with the model.
"""

from __future__ import annotations

import copy
import io
import socket
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CompressionError
from accaware.pytorch.model.wrappers import is_compiler
from accaware.wording import first_line

_HANDLES = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Thread,
    threading.local,
    Executor,
    io.IOBase,
    socket.socket,
    types.ModuleType,
    torch.Event,
    torch.Stream,
)
"""Of what there is once, outside of the model."""

_ATOMS = (str, bytes, int, float, complex, type(None), type, types.FunctionType, nn.Module)
"""Nothing of these has to be looked into; copy.deepcopy, or the copier itself, knows them."""

_CONSTANTS = frozenset((str, bytes, int, float, complex, bool, type(None)))
_CONTAINERS = frozenset((dict, OrderedDict, list, tuple, set))

_Change = Callable[[Tensor], Tensor]


def copied(model: nn.Module) -> nn.Module:
    """A copy that shares no tensor with the model.

    Raises:
        CompressionError: some of it can't be copied; names the module and the attribute.
    """
    return _Copier(model, None).copy()


def copy_with(model: nn.Module, change: _Change) -> nn.Module:
    """A copy that isn't for training: no parameter of it asks for a gradient.

    No second set of tensors is in memory on the way.

    Args:
        change: gives a new tensor for each parameter and buffer, which it leaves alone, and for
            each other floating-point tensor that a module holds; of its own results it makes the
            same again.

    Raises:
        CompressionError: some of it can't be copied; names the module and the attribute.
    """
    return _Copier(model, change).copy()


def copy_without_values(model: nn.Module) -> nn.Module:
    """A copy on the meta device, where tensors have shapes and nothing else."""
    return copy_with(model, lambda tensor: torch.empty_like(tensor, device="meta"))


def copy_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy whose floating-point tensors have another precision."""

    def change(tensor: Tensor) -> Tensor:
        return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)

    return copy_with(model, change)


class _Copier:
    """Makes one copy.

    Args:
        change: None for tensors as they are.
    """

    def __init__(self, model: nn.Module, change: _Change | None) -> None:
        self._model = model
        self._change = change
        self._memo: dict[int, Any] = {}
        self._alive: list[object] = []
        """What the memo knows by its id; nothing else may get that id meanwhile."""

    def copy(self) -> nn.Module:
        parts: list[tuple[str, nn.Module]] = []
        whole: list[tuple[str, nn.Module]] = []
        for name, module in _outermost_first(self._model):
            (whole if _copies_itself(module) else parts).append((name, module))
        self._remember_tensors()
        for _, module in parts:
            self._remember(module, _empty_like(module))
        for _, module in (*parts, *whole):
            for value in vars(module).values():
                self._remember_inner(value)
        for name, module in whole:
            self._remember(module, self._whole(name, module))
        # From the inside out, as some modules look at those within them.
        for name, module in reversed(parts):
            self._fill(name, module, self._memo[id(module)])
        made: nn.Module = self._memo[id(self._model)]
        return made

    def _remember_tensors(self) -> None:
        if self._change is None:
            return
        for parameter in self._model.parameters():
            changed = self._change(parameter.detach())
            self._remember(parameter, nn.Parameter(changed, requires_grad=False))
        for buffer in self._model.buffers():
            self._remember(buffer, self._change(buffer.detach()))

    def _remember_inner(self, value: Any) -> None:
        """What copy.deepcopy can't do, or not rightly, of all that an attribute holds."""
        if type(value) in _CONSTANTS or (type(value) in _CONTAINERS and not value):
            return
        for each in _leaves(value, set()):
            if id(each) in self._memo:
                continue
            if isinstance(each, _HANDLES):
                self._remember(each, each)
            elif isinstance(each, Tensor):
                if self._change is not None and each.is_floating_point():
                    self._remember(each, self._change(each.detach()))
                elif not each.is_leaf:
                    self._remember(each, each.detach().clone())

    def _remember(self, original: object, made: object) -> None:
        self._memo[id(original)] = made
        self._alive.append(original)

    def _whole(self, name: str, module: nn.Module) -> nn.Module:
        """In the module's own way."""
        made: nn.Module = self._deepcopy(name or "the model", module)
        tensors = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
        if made is module or any(
            id(tensor) in tensors for tensor in (*made.parameters(), *made.buffers())
        ):
            raise CompressionError(
                f"{name or 'the model'} ({type(module).__name__}) can't be copied, and layers are "
                "tried on copies: its __deepcopy__ gives tensors of the module itself; let it "
                "copy them"
            )
        if self._change is not None:
            self._change_tensors(made, self._change)
        return made

    def _change_tensors(self, made: nn.Module, change: _Change) -> None:
        """Those that didn't come out of the memo."""
        known = {id(each) for each in self._memo.values()}
        changed: dict[int, Tensor] = {}
        for module in made.modules():
            owners: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for tensors in owners:
                for key, tensor in list(tensors.items()):
                    if tensor is None or id(tensor) in known:
                        continue
                    if id(tensor) not in changed:
                        new = change(tensor.detach())
                        parameter = isinstance(tensor, nn.Parameter)
                        changed[id(tensor)] = nn.Parameter(new, False) if parameter else new
                    tensors[key] = changed[id(tensor)]

    def _fill(self, name: str, module: nn.Module, made: nn.Module) -> None:
        """Give an empty copy all that the module holds."""
        if is_compiler(module):
            made.add_module("_orig_mod", self._memo[id(module.get_submodule("_orig_mod"))])
            return
        state: Any = module.__getstate__()  # type: ignore[no-untyped-call]
        if isinstance(state, dict):
            state = {key: self._deepcopy(_joined(name, key), each) for key, each in state.items()}
        else:
            state = self._deepcopy(name or "the model", state)
        made.__setstate__(state)  # type: ignore[no-untyped-call]
        for key, value in _slots(module):
            object.__setattr__(made, key, self._deepcopy(_joined(name, key), value))
        for key, value in vars(module).items():
            if isinstance(value, weakref.ref) and id(value()) in self._memo:
                made.__dict__[key] = weakref.ref(self._memo[id(value())])

    def _deepcopy(self, place: str, value: Any) -> Any:
        if type(value) in _CONSTANTS:  # most of what a model holds
            return value
        try:
            return copy.deepcopy(value, self._memo)
        except CompressionError:
            raise
        except Exception as error:
            reason = first_line(error)
            raise CompressionError(
                f"{type(self._model).__name__} can't be copied, and layers are tried on copies: "
                f"{place} ({type(value).__name__}) refuses it ({reason}); make it in the forward "
                "that needs it, or give its class a __deepcopy__"
            ) from error


class _Uncompiled(nn.Module):
    """A copy of what torch.compile gave: under the same names, and not compiled."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.get_submodule("_orig_mod")(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_orig_mod":
                raise
            return getattr(self.get_submodule("_orig_mod"), name)


def _empty_like(module: nn.Module) -> nn.Module:
    return _Uncompiled() if is_compiler(module) else type(module).__new__(type(module))


def _copies_itself(module: nn.Module) -> bool:
    """Whether its class says how it is copied: then all that is in it is its affair."""
    kind = type(module)
    return not is_compiler(module) and (
        hasattr(kind, "__deepcopy__")
        or kind.__reduce__ is not object.__reduce__
        or kind.__reduce_ex__ is not object.__reduce_ex__
    )


def _outermost_first(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, by name, but for those within one that copies itself."""
    seen: set[int] = set()
    pending = [("", model)]
    while pending:
        name, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        if not _copies_itself(module):
            children = [
                (_joined(name, key), child)
                for key, child in module._modules.items()
                if child is not None
            ]
            pending.extend(reversed(children))


def _leaves(value: Any, seen: set[int]) -> Iterator[Any]:
    """Tensors, handles and all else that holds nothing, within containers and objects."""
    if id(value) in seen or isinstance(value, _ATOMS):
        return
    seen.add(id(value))
    inner: Iterable[Any]
    if isinstance(value, (Tensor, *_HANDLES)):
        inner = ()
    elif isinstance(value, Mapping):
        inner = (*value.keys(), *value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = value
    elif isinstance(value, types.MethodType):
        inner = (value.__self__,)
    elif isinstance(value, partial):
        inner = (value.func, value.args, value.keywords)
    else:
        inner = (*getattr(value, "__dict__", {}).values(), *(each for _, each in _slots(value)))
    if not inner:
        yield value
    for each in inner:
        yield from _leaves(each, seen)


def _slots(value: object) -> Iterator[tuple[str, Any]]:
    """What it holds in the __slots__ of its classes."""
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = kind.__dict__.get(name)
            if isinstance(descriptor, types.MemberDescriptorType):
                with suppress(AttributeError):  # it was never set
                    yield name, descriptor.__get__(value, type(value))


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
