"""A second device where there is none: the CPU's memory, of which some is said to be elsewhere.

What an accelerator does to a program is to refuse operations between its tensors and others. This
mode does just that. Tensors stay ordinary ones that compute ordinary numbers, and it notes whose
memory is the device's: what was moved or made there, and what was computed from such. ``.device``
tells accordingly, and an operation on both kinds raises what an accelerator raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

HOST = torch.device("cpu")


class MixedDevicesError(RuntimeError):
    """An operation on tensors of two devices."""


class SecondDevice(TorchFunctionMode):
    """While it is entered, ``device`` is there.

    Args:
        device: its name. It needs no support by torch; "mps" has the fewest branches in torch.
    """

    def __init__(self, device: str = "mps") -> None:
        super().__init__()
        self.device = torch.device(device)
        # A weak reference keeps the storage's address from being given to another one.
        self._storages: dict[int, StorageWeakRef] = {}

    def holds(self, tensor: Tensor) -> bool:
        """Whether the tensor is on the device."""
        return tensor.device.type == "cpu" and tensor.untyped_storage()._cdata in self._storages

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        # Inside of this method the mode is off, and tensors are plain ones of the CPU.
        given = [leaf for leaf in _leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        mine = [tensor for tensor in given if self.holds(tensor)]
        if function in _PROPERTIES and mine:
            return _PROPERTIES[function](self)
        if function in _TO_PYTHON_ARRAYS and mine:
            raise TypeError(f"can't convert a tensor on {self.device} to an array: .cpu() first")
        target = self._target(function, args, kwargs)
        if function not in _ACROSS and target is None:
            self._check(function, given)
        if target is not None:
            args, kwargs = pytree.tree_map(self._on_host, (args, kwargs))
        result = function(*args, **kwargs)
        if target is None:
            there = bool(mine) if function not in _INTO_THE_FIRST else self.holds(args[0])
        else:
            there = target == self.device.type
            if function in _MOVING and there != bool(mine):
                # Both are in the CPU's memory, and yet they are not to share it.
                result = _apart(result, args[0])
        if there:
            self._note(result)
        return result

    def _note(self, result: Any) -> None:
        for leaf in _leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type == "cpu":
                storage = leaf.untyped_storage()
                self._storages[storage._cdata] = StorageWeakRef(storage)

    def _target(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> str | None:
        """The type of the device that is named; None where none is."""
        if function is Tensor.cpu:
            return "cpu"
        places = [*args[1:], kwargs.get("device")]
        if function is Tensor.to and len(args) > 1 and isinstance(args[1], Tensor):
            return self.device.type if self.holds(args[1]) else args[1].device.type
        for place in places:
            if isinstance(place, torch.device):
                return place.type
            if isinstance(place, str) and place.partition(":")[0] in _TYPES:
                return place.partition(":")[0]
        return None

    def _on_host(self, value: Any) -> Any:
        if isinstance(value, torch.device) and value.type == self.device.type:
            return HOST
        if isinstance(value, str) and value.partition(":")[0] == self.device.type:
            return "cpu"
        return value

    def _check(self, function: Callable[..., Any], tensors: Iterable[Tensor]) -> None:
        # A single number of the CPU's may go anywhere, as on any device.
        kinds: dict[bool, Tensor] = {}
        for tensor in tensors:
            if tensor.device.type == "cpu" and (self.holds(tensor) or tensor.dim() > 0):
                kinds.setdefault(self.holds(tensor), tensor)
        if len(kinds) > 1:
            name = getattr(function, "__name__", str(function))
            shapes = {self.device if there else HOST: list(kinds[there].shape) for there in kinds}
            raise MixedDevicesError(
                f"{name}: expected all tensors to be on the same device, but found {shapes}"
            )


def _leaves(value: Any) -> list[Any]:
    return pytree.tree_leaves(value)


def _apart(result: Any, source: Tensor) -> Any:
    if result is source or result.untyped_storage()._cdata == source.untyped_storage()._cdata:
        return result.clone()
    return result


_TYPES = {"cpu", "cuda", "mps", "meta", "xpu"}

_PROPERTIES: dict[Any, Callable[[SecondDevice], Any]] = {
    Tensor.device.__get__: lambda mode: mode.device,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: lambda mode: False,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: lambda mode: mode.device.type == "cuda",  # type: ignore[attr-defined]
    Tensor.is_mps.__get__: lambda mode: mode.device.type == "mps",  # type: ignore[attr-defined]
    Tensor.get_device: lambda mode: 0,
}

_TO_PYTHON_ARRAYS = {Tensor.numpy, Tensor.__array__}

_MOVING = {Tensor.to, Tensor.cpu}

_ACROSS = {
    Tensor.to,
    Tensor.cpu,
    Tensor.copy_,
    Tensor.data.__set__,  # type: ignore[attr-defined]
    Tensor.type_as,
    torch._has_compatible_shallow_copy_type,
    Tensor.__deepcopy__,
}
"""What an accelerator does between devices."""

_INTO_THE_FIRST = {Tensor.copy_, Tensor.data.__set__, Tensor.type_as, Tensor.__deepcopy__}  # type: ignore[attr-defined]
