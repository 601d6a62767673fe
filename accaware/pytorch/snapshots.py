"""A run's whole state between two epochs, in files."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from accaware.errors import CheckpointError, UnkeepableError
from accaware.pytorch.checkpoint import read_file, write_file
from accaware.pytorch.controller import PTCompressionController


class Stateful(Protocol):
    """What torch calls stateful: optimizers, schedules, scalers, and parts of a run."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class TorchSnapshots:
    """Writes the state of a run's parts, and brings it back.

    Args:
        folder: for the files; it exists.
        parts: by name, in the order in which they are to be brought back.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Stateful]) -> None:
        self._folder = folder
        self._parts = parts

    def save(self, name: str) -> str:
        """Write a snapshot.

        Returns:
            The file's SHA-256.

        Raises:
            UnkeepableError: a part's state is of a kind that can't be read back safely.
            OSError: it can't be written.
        """
        content = {part: stateful.state_dict() for part, stateful in self._parts.items()}
        for part, state in content.items():
            _check_keepable(state, f"the state of the {part}")
        return write_file(content, self._path(name))

    def load(self, name: str) -> None:
        """Bring every part back to where the snapshot was taken.

        Raises:
            CheckpointError: the file can't be read, or is another model's or training's.
        """
        path = self._path(name)
        content = read_file(path)
        for part, stateful in self._parts.items():
            try:
                stateful.load_state_dict(content[part])
            except (
                AttributeError,
                KeyError,
                IndexError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as error:
                raise CheckpointError(f"{path} doesn't fit the {part}: {error}") from error

    def discard(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"


class CompressionState:
    """A controller's checkpoint, and what that leaves out: its schedule, and who teaches."""

    def __init__(self, controller: PTCompressionController) -> None:
        self._controller = controller

    def state_dict(self) -> dict[str, Any]:
        teacher = self._controller.distillation
        return {
            "model": self._controller.state_dict(),
            "schedule": self._controller.scheduler.state_dict(),
            "teacher": None if teacher is None else teacher.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._controller.load_state_dict(state["model"])
        self._controller.scheduler.load_state_dict(state["schedule"])
        if self._controller.distillation is not None:
            self._controller.distillation.load_state_dict(state["teacher"])


_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    Tensor,
    torch.nn.Parameter,
    torch.Size,
    torch.device,
    torch.dtype,
)
_MAPPINGS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, set)


def _check_keepable(value: Any, place: str) -> None:
    """Refuse what ``read_file`` would refuse: found out now, not when everything hangs on it."""
    if type(value) in _PLAIN:
        return
    if type(value) in _MAPPINGS:
        for key, entry in value.items():
            _check_keepable(key, f"{place}, a key")
            _check_keepable(entry, f"{place}, {key!r}")
    elif type(value) in _SEQUENCES:
        for at, entry in enumerate(value):
            _check_keepable(entry, f"{place}, item {at}")
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UnkeepableError(
            f"{place}: {kind} can't be kept; numbers, strings, tensors, and lists and dicts of "
            "them can"
        )
