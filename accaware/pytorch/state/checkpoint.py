"""Compressed models in files: written whole or not at all, read without running any code."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.serialization import get_crc32_options, set_crc32_options

from accaware.errors import CheckpointError
from accaware.pytorch.channels.compact import first_names, replace_data, sized_modules, tensors_of
from accaware.pytorch.channels.layout import KeptMasks, laid_out_like, slice_dense
from accaware.pytorch.channels.numbers import module_numbers
from accaware.pytorch.model.tensors import same_bits
from accaware.pytorch.model.wrappers import recompile, unwrapped
from accaware.pytorch.quantization.attach import attached_to
from accaware.pytorch.quantization.record import attach_recorded, integer_weights
from accaware.pytorch.state.fitting import Fitted, fitted
from accaware.pytorch.state.saved_model import SavedModel
from accaware.rundir import atomic

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def save_compressed(model: nn.Module, kept: KeptMasks, path: str | Path) -> None:
    """Write a compressed model: its state dict, and what it keeps of the dense one.

    Where quantizers are active on it, the weights that they quantize are written as integers.
    Tensors that have several names are written once.

    Args:
        kept: empty for a model whose tensors all have their dense shapes.

    Raises:
        OSError: the file can't be written; an earlier one of that name is intact.
    """
    write_checkpoint(saved_form(unwrapped(model), kept).content(), Path(path))


def load_compressed(path: str | Path, model: nn.Module) -> nn.Module:
    """Put a saved compressed model into a freshly created dense one, in place.

    Args:
        path: a file that accaware saved.
        model: with the architecture and the dense shapes of the model that was compressed. A
            wrapper around it, of torch.compile or DataParallel, makes no difference.

    Returns:
        ``model``, with fewer channels where some were removed, and with quantizers where some
        were active. It computes what the saved model did.

    Raises:
        CheckpointError: the file can't be read, isn't such a file, or doesn't fit the model;
            names the layers and both shapes. The model is as it was, unless hooks of its own
            refused its state.
    """
    handed_over, model = model, unwrapped(model)
    file = Path(path)
    content = read_checkpoint(file)
    with reading(file):
        saved = SavedModel.of(content, str(path))
        parts = fitted(saved, model, str(path))
    try:
        _enter(model, saved, parts)
    except Exception as error:  # a model's own hooks may refuse in any way
        raise CheckpointError(f"{path} doesn't fit this {type(model).__name__}: {error}") from error
    recompile(handed_over)
    return handed_over


def _enter(model: nn.Module, saved: SavedModel, parts: Fitted) -> None:
    live = tensors_of(model)
    modules = sized_modules(model)
    counts = {sized.count for sized in modules}
    numbers = module_numbers(model, parts.masks.keys() - live.keys() - counts)
    for name, masks in parts.masks.items():
        if name not in live:  # a count
            continue
        keep = {dim: mask.nonzero().flatten() for dim, mask in masks.items()}
        part = slice_dense(live[name].detach(), keep)
        replace_data(live[name], laid_out_like(live[name], part))
    for sized in modules:
        if sized.names & parts.masks.keys():
            sized.update(parts.masks)
    for number in numbers:
        number.update(parts.masks)
    for name, buffer in parts.buffers.items():
        if not same_bits(live[name].cpu(), buffer):
            replace_data(live[name], buffer.to(live[name], copy=True))
    state: OrderedDict[str, Any] = OrderedDict(parts.state)
    state._metadata = saved.metadata  # type: ignore[attr-defined]
    model.load_state_dict(state)
    if saved.quantizers is not None:
        attach_recorded(model, saved.quantizers)


def write_checkpoint(content: Any, path: Path) -> None:
    """Save whole or not at all, and on disk afterwards.

    Raises:
        OSError: as the system says; what was there before is intact.
    """
    atomic.write_atomically(path, lambda file: torch.save(content, file))


def read_checkpoint(path: Path) -> Any:
    """Load tensors and plain values, and nothing that could run code.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than that.
    """
    with reading(path):
        if _is_sound(path):
            return torch.load(path, map_location="cpu", weights_only=True)
    raise CheckpointError(f"{path} is damaged or not a saved model")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a file leads to that isn't what it should be, it is a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:
        raise CheckpointError(f"{path} is damaged or not a saved model") from error


def _is_sound(path: Path) -> bool:
    """By the checksums in the file.

    Torch doesn't look at those that it writes, and gives whatever memory holds for an entry that
    a flipped bit makes a folder. What is compressed, torch hasn't written; it may fill any memory.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None and not any(
            entry.external_attr or entry.compress_type != zipfile.ZIP_STORED
            for entry in archive.infolist()
        )


def file_size(model: nn.Module, kept: KeptMasks) -> int:
    """Bytes of the file that save_compressed would write."""
    size = _Size()
    with without_checksums(), io.BufferedWriter(size) as file:
        torch.save(saved_form(model, kept).content(), file)
    return size.written


class _Size(io.RawIOBase):
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        self.written += size
        return size


@contextmanager
def without_checksums() -> Iterator[None]:
    """Torch's own in a file, which take longer than writing it."""
    before = get_crc32_options()
    set_crc32_options(False)
    try:
        yield
    finally:
        set_crc32_options(before)


def saved_form(model: nn.Module, kept: KeptMasks) -> SavedModel:
    """What is written of a model; its tensors are the model's own as far as they can be."""
    state = model.state_dict()
    firsts = first_names(model)
    quantizers = attached_to(model)
    integers: dict[str, Tensor] = {}
    record = None
    if quantizers is not None and quantizers.active:
        made, record = integer_weights(model, quantizers)
        integers = {firsts[name]: values for name, values in made.items()}
    whole = _Whole()
    persistent = {firsts.get(name) for name in state}
    return SavedModel(
        state={
            name: whole.of(integers.get(firsts.get(name, name), value))
            for name, value in state.items()
        },
        metadata={name: dict(entry) for name, entry in getattr(state, "_metadata", {}).items()},
        kept={
            **{name: masks for name, masks in kept.items() if name not in firsts},  # of counts
            **{name: kept[first] for name, first in firsts.items() if first in kept},
        },
        buffers={
            name: whole.of(buffer)
            for name, buffer in model.named_buffers()
            if firsts[name] not in persistent
        },
        quantizers=record,
    )


class _Whole:
    """Tensors that fill their memory: a part of another one would drag all of that into a file.

    Of the same part there is one copy, so that a file has it once.
    """

    def __init__(self) -> None:
        self._copies: dict[tuple[Any, ...], Tensor] = {}

    def of(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        tensor = value.detach()
        if tensor.layout is not torch.strided:
            return tensor
        memory = tensor.untyped_storage()
        if tensor.nbytes == memory.nbytes():
            return tensor
        part = (
            memory.data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
        )  # fmt: skip
        return self._copies.setdefault(part, tensor.clone())
