"""States as a few tensors and some bytes: with many tensors torch.save is slow."""

from __future__ import annotations

import io
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import UnkeepableError
from accaware.pytorch.channels.shared import Shared

_SMALL = 1 << 18
"""Bytes. A tensor of its own costs torch.save about as much as copying so many."""

_KINDS = (complex, Counter, OrderedDict, torch.Size, torch.device, torch.dtype)
"""Of values, besides what is built into Python's pickles."""

_CLASSES: dict[tuple[str, str], Any] = {
    (kind.__module__, kind.__qualname__): kind for kind in (bytearray, set, *_KINDS)
}


Reference = tuple[str, str]
"""To shared content: the name of its file, and its digest."""


def packed(state: Any, refer: Callable[[Shared], Reference]) -> dict[str, Any]:
    """The same state for torch.save: small tensors end to end, and the rest as bytes.

    Args:
        state: tensors, plain values, shared content, and dicts, lists, tuples and sets of them.
        refer: gives what is to stand for shared content.

    Raises:
        UnkeepableError: something of it is of another kind.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, refer)
    pickler.dump(state)
    storages = [_storage(tensor) for tensor in pickler.tensors]
    sharers = Counter(None if storage is None else storage.data_ptr() for storage in storages)
    together: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    kinds: dict[tuple[torch.dtype, torch.device], int] = {}
    places: list[tuple[int, tuple[int, ...]] | None] = []
    alone: list[Tensor] = []
    for tensor, storage in zip(pickler.tensors, storages, strict=True):
        # What two tensors share, they are to share afterwards.
        if storage is not None and sharers[storage.data_ptr()] == 1 and _fills(tensor, storage):
            kind = tensor.dtype, tensor.device
            together.setdefault(kind, []).append(tensor if tensor.dim() == 1 else tensor.view(-1))
            places.append((kinds.setdefault(kind, len(kinds)), tuple(tensor.shape)))
        else:
            places.append(None)
            alone.append(tensor)
    return {
        "structure": buffer.getvalue(),
        "places": pickle.dumps(places),
        "together": [torch.cat(parts) for parts in together.values()],
        "alone": alone,
    }


def unpacked(content: Mapping[str, Any], resolve: Callable[[str, str], Shared]) -> Any:
    """The state that ``packed`` was given. Runs no code, whatever the bytes are.

    Args:
        resolve: gives the shared content that a reference stands for.

    Raises:
        pickle.UnpicklingError: they are no such state's.
    """
    places = _Unpickler(content["places"]).load()
    offsets = [0] * len(content["together"])
    alone = iter(content["alone"])
    tensors = []
    for place in places:
        if place is None:
            tensors.append(next(alone))
            continue
        kind, shape = place
        size = torch.Size(shape).numel()
        part = content["together"][kind][offsets[kind] : offsets[kind] + size]
        # A copy: torch takes no view for the state of a generator, and it dies by it.
        tensors.append(part.clone().view(shape))
        offsets[kind] += size
    return _Unpickler(content["structure"], tensors, resolve).load()


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """Its memory; None where that isn't in one piece."""
    return tensor.untyped_storage() if tensor.layout is torch.strided else None


def _fills(tensor: Tensor, storage: torch.UntypedStorage) -> bool:
    """Whether it is a plain one of few bytes, and in its order all that its memory holds."""
    return (
        tensor.nbytes == storage.nbytes() <= _SMALL
        and type(tensor) is Tensor
        and tensor.is_contiguous()
        and not tensor.requires_grad
        and not tensor.is_quantized
    )


def _tensor(index: int) -> Tensor:
    """Stands for a tensor among the bytes."""
    raise NotImplementedError


def _shared(name: str, digest: str) -> Shared:
    """Stands for shared content among the bytes."""
    raise NotImplementedError


class _Pickler(pickle.Pickler):
    """Leaves the tensors out, and keeps them in the order in which it met them."""

    def __init__(self, file: io.BytesIO, refer: Callable[[Shared], Reference]) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[Tensor] = []
        self._refer = refer

    def reducer_override(self, value: Any) -> Any:
        """Asked about whatever isn't built into Python: what would not come back is refused."""
        kind = type(value)
        if kind is Tensor or kind is nn.Parameter:
            self.tensors.append(value)
            return _tensor, (len(self.tensors) - 1,)
        if kind is Shared:
            return _shared, self._refer(value)
        if kind in _KINDS or value is _tensor or value is _shared:
            return NotImplemented
        if kind is type and value in _CLASSES.values():
            return NotImplemented
        raise UnkeepableError(
            f"{kind.__module__}.{kind.__qualname__} can't be kept; numbers, strings, tensors, and "
            "lists and dicts of them can"
        )


def _unexpected(name: str, digest: str) -> Shared:
    raise pickle.UnpicklingError(f"{name} has no place in it")


class _Unpickler(pickle.Unpickler):
    """Makes nothing but plain values, and has the tensors."""

    def __init__(
        self,
        data: bytes,
        tensors: Sequence[Tensor] = (),
        resolve: Callable[[str, str], Shared] = _unexpected,
    ) -> None:
        super().__init__(io.BytesIO(data))
        self._own = {_tensor.__name__: tensors.__getitem__, _shared.__name__: resolve}

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in self._own:
            return self._own[name]
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state")
