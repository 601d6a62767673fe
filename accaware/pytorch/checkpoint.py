"""Compressed models in files: written whole or not at all, read without running any code."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError
from accaware.pytorch.channels import KeptMasks
from accaware.pytorch.compact import replace_data, sized_modules, tensors_of
from accaware.pytorch.quantization.attach import attached_to
from accaware.pytorch.quantization.record import (
    attach_recorded,
    integer_weights,
    rounded_weight,
)
from accaware.rundir import atomic

FORMAT = "accaware.compressed_model"
FORMAT_VERSION = 1


def save_compressed(model: nn.Module, kept: KeptMasks, path: str | Path) -> None:
    """Write a compressed model: its state dict, and what it keeps of the dense one.

    Where quantizers are active on it, the weights that they round are written as integers.

    Args:
        kept: empty for a model whose tensors all have their dense shapes.

    Raises:
        OSError: the file can't be written; an earlier one of that name is intact.
    """
    write_file(_content(model, kept), Path(path))


def load_compressed(path: str | Path, model: nn.Module) -> nn.Module:
    """Put a saved compressed model into a freshly created dense one, in place.

    Args:
        path: a file that accaware saved.
        model: with the architecture and the dense shapes of the model that was compressed.

    Returns:
        ``model``, with fewer channels where some were removed, and with quantizers where some
        were active. It computes what the saved model did.

    Raises:
        CheckpointError: the file can't be read, isn't such a file, or doesn't fit the model;
            names the layers and both shapes.
    """
    state, kept, quantizers = _parse(str(path), read_file(Path(path)))
    _check_fit(str(path), model, state, kept)
    live = tensors_of(model)
    modules = sized_modules(model)
    for name in kept.keys() & live.keys():
        replace_data(live[name], state[name].to(live[name], copy=True))
    for sized in modules:
        if sized.names & kept.keys():
            sized.update(kept)
    try:
        model.load_state_dict(state)
    except Exception as error:  # a model's own hooks may refuse in any way
        raise CheckpointError(f"{path} doesn't fit this {type(model).__name__}: {error}") from error
    if quantizers is not None:
        attach_recorded(model, quantizers)
    return model


def write_file(content: Any, path: Path) -> None:
    """Save whole or not at all, and on disk afterwards.

    Raises:
        OSError: as the system says; what was there before is intact.
    """
    atomic.write_file(path, lambda file: torch.save(content, file))


def read_file(path: Path) -> Any:
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
    a flipped bit makes a folder.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None and not any(
            entry.external_attr for entry in archive.infolist()
        )


def file_size(model: nn.Module, kept: KeptMasks) -> int:
    """Bytes of the file that save_compressed would write."""
    buffer = io.BytesIO()
    torch.save(_content(model, kept), buffer)
    return buffer.tell()


def _content(model: nn.Module, kept: KeptMasks) -> dict[str, Any]:
    state = model.state_dict()
    metadata = getattr(state, "_metadata", {})
    quantizers = attached_to(model)
    integers: dict[str, Tensor] = {}
    record = None
    if quantizers is not None and quantizers.active:
        integers, record = integer_weights(model, quantizers)
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "state_dict": {
            # A sliced view would drag its whole storage into the file.
            name: tensor.detach().clone() if isinstance(tensor, Tensor) else tensor
            for name, tensor in {**state, **integers}.items()
        },
        # The versions of the modules' own formats; some (MNASNet) don't load without.
        "metadata": {name: dict(each) for name, each in metadata.items()},
        "kept": kept,
        "quantizers": record,
    }


def _parse(path: str, content: Any) -> tuple[dict[str, Tensor], KeptMasks, dict[str, Any] | None]:
    """The state dict, the kept masks and the quantizers of a file's content."""
    parts = ("version", "state_dict", "metadata", "kept", "quantizers")
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or any(part not in content for part in parts)
    ):
        raise CheckpointError(f"{path} is not a compressed model that accaware saved")
    if content["version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {content['version']}; this accaware reads up to "
            f"{FORMAT_VERSION}"
        )
    state: OrderedDict[str, Tensor] = OrderedDict(content["state_dict"])
    state._metadata = content["metadata"]  # type: ignore[attr-defined]
    quantizers = content["quantizers"]
    for layer, entry in quantizers["weights"].items() if quantizers is not None else ():
        name = f"{layer}.weight"
        if not state[name].is_floating_point():
            state[name] = rounded_weight(state[name], entry)
    return state, content["kept"], quantizers


def _check_fit(path: str, model: nn.Module, state: dict[str, Tensor], kept: KeptMasks) -> None:
    own = {
        name: list(tensor.shape) if isinstance(tensor, Tensor) else []
        for name, tensor in model.state_dict().items()
    }
    faults = [f"{name}: not in the model" for name in state if name not in own]
    for name, shape in own.items():
        if name not in state:
            faults.append(f"{name}: not in the file")
            continue
        dense = list(state[name].shape) if isinstance(state[name], Tensor) else []
        for dim, mask in kept.get(name, {}).items():
            dense[dim] = len(mask)
        if dense != shape:
            faults.append(f"{name}: {dense} in the file's dense model, {shape} in this one")
    counts = {sized.count: sized.channels for sized in sized_modules(model) if sized.count}
    for name in kept.keys() - own.keys():
        if name not in counts:
            faults.append(f"{name}: not in the model")
        elif len(kept[name][0]) != counts[name]:
            faults.append(
                f"{name}: {len(kept[name][0])} channels in the file's dense model, {counts[name]} "
                "in this one"
            )
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults[:10])
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise CheckpointError(f"{path} doesn't fit this {type(model).__name__}:\n{listed}{more}")
