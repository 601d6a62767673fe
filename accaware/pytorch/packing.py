"""States as a few tensors and some bytes: with many small tensors torch.save is slow."""

from __future__ import annotations

import io
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accaware.errors import UnkeepableError

_SMALL = 1 << 16
"""Bytes. A tensor of its own costs torch.save about as much as copying so many."""

_KINDS = (complex, Counter, OrderedDict, torch.Size, torch.device, torch.dtype)
"""Of values, besides what is built into Python's pickles."""

_CLASSES: dict[tuple[str, str], Any] = {
    (kind.__module__, kind.__qualname__): kind for kind in (bytearray, set, *_KINDS)
}


def packed(state: Any) -> dict[str, Any]:
    """The same state for torch.save: small tensors end to end, and the rest as bytes.

    Args:
        state: tensors, plain values, and dicts, lists, tuples and sets of them.

    Raises:
        UnkeepableError: something of it is of another kind.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
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
            together.setdefault(kind, []).append(tensor.view(-1))
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


def unpacked(content: Mapping[str, Any]) -> Any:
    """The state that ``packed`` was given. Runs no code, whatever the bytes are.

    Raises:
        pickle.UnpicklingError: they are no such state's.
    """
    places = _Unpickler(content["places"], []).load()
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
    return _Unpickler(content["structure"], tensors).load()


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


class _Pickler(pickle.Pickler):
    """Leaves the tensors out, and keeps them in the order in which it met them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[Tensor] = []

    def reducer_override(self, value: Any) -> Any:
        """Asked about whatever isn't built into Python: what would not come back is refused."""
        kind = type(value)
        if kind in (Tensor, torch.nn.Parameter):
            self.tensors.append(value)
            return _tensor, (len(self.tensors) - 1,)
        if kind in _KINDS or value is _tensor or (kind is type and value in _CLASSES.values()):
            return NotImplemented
        raise UnkeepableError(
            f"{kind.__module__}.{kind.__qualname__} can't be kept; numbers, strings, tensors, and "
            "lists and dicts of them can"
        )


class _Unpickler(pickle.Unpickler):
    """Makes nothing but plain values, and has the tensors."""

    def __init__(self, data: bytes, tensors: list[Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self._tensors = tensors

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (_tensor.__module__, _tensor.__name__):
            return self._tensors.__getitem__
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state")
