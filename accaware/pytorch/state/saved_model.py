"""What is in the file of a compressed model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError
from accaware.pytorch.channels.layout import KeptMasks
from accaware.pytorch.quantization.record import check_record

FORMAT = "accaware.compressed_model"
FORMAT_VERSION = 2
"""Version 1 had masks under the first one of a tensor's names only, and no buffers."""

_PARTS = ("version", "state_dict", "metadata", "kept", "quantizers")


@dataclass(frozen=True)
class SavedModel:
    """A compressed model as a file holds it.

    Attributes:
        state: the state dict; quantized weights are integers in it.
        metadata: the versions of the modules' own formats, by the modules' names; some (MNASNet)
            don't load without.
        kept: of the dense model's channels, by the names of tensors.
        buffers: those that no state dict has.
        quantizers: a record of them; None where none are active.
    """

    state: Mapping[str, Any]
    metadata: Mapping[str, Mapping[str, Any]]
    kept: KeptMasks
    buffers: Mapping[str, Tensor]
    quantizers: Mapping[str, Any] | None

    def content(self) -> dict[str, Any]:
        """For a file."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "state_dict": self.state,
            "metadata": self.metadata,
            "kept": self.kept,
            "buffers": self.buffers,
            "quantizers": self.quantizers,
        }

    @classmethod
    def of(cls, content: Any, path: str) -> SavedModel:
        """Out of a file, once every type in it is what it should be.

        Raises:
            CheckpointError: the content is something else's, or a newer accaware's.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a compressed model that accaware saved")
        version = content.get("version")
        if type(version) is int and version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format version {version}; this accaware reads up to {FORMAT_VERSION}"
            )
        try:
            return _checked(content)
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} is damaged, or not a compressed model that accaware saved: {error.args[0]}"
            ) from error


def _checked(content: Mapping[str, Any]) -> SavedModel:
    """A file's content, every part of which has the type that it should.

    Raises:
        ValueError: says which part is of another type.
    """
    missing = [part for part in _PARTS if part not in content]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    if type(content["version"]) is not int:
        raise ValueError("its version isn't a number")
    state = _named("state_dict", content["state_dict"])
    for name, value in state.items():
        if isinstance(value, Tensor) and not is_plain(value):
            raise ValueError(f"{name} is no plain tensor")
    metadata = _named("metadata", content["metadata"])
    for entry in metadata.values():
        _named("metadata", entry)
    kept = _named("kept", content["kept"])
    for name, dims in kept.items():
        if not (isinstance(dims, dict) and all(_is_mask(*pair) for pair in dims.items())):
            raise ValueError(f"what it keeps of {name} isn't told by masks")
    buffers = _named("buffers", content.get("buffers", {}))
    for name, buffer in buffers.items():
        if not is_plain(buffer):
            raise ValueError(f"{name} is no plain tensor")
    if content["quantizers"] is not None:
        check_record(content["quantizers"])
    return SavedModel(state, metadata, kept, buffers, content["quantizers"])


def _named(part: str, content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and all(isinstance(name, str) for name in content):
        return content
    raise ValueError(f"its {part} isn't a dict with names for keys")


def _is_mask(dim: Any, mask: Any) -> bool:
    return (
        type(dim) is int
        and dim >= 0
        and is_plain(mask)
        and mask.dim() == 1
        and mask.dtype == torch.bool
    )


def is_plain(value: Any) -> bool:
    """Whether it is a tensor with values of its own, which copy to any other one."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.device.type == "cpu"
        and not value.is_nested
        and not value.is_quantized
    )
