"""A run's whole state between two epochs, in files."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

from accaware.errors import CheckpointError, UnkeepableError
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.state.state_files import StateFiles
from accaware.pytorch.state.stateful import Stateful
from accaware.pytorch.state.tensor_packing import packed


class TorchSnapshots:
    """Writes the state of a run's parts, and brings it back.

    Args:
        files: where they go; what it knows of them is a part of every snapshot.
        parts: by name, in the order in which they are to be brought back.
    """

    def __init__(self, files: StateFiles, parts: Mapping[str, Stateful]) -> None:
        self._files = files
        self._parts: Mapping[str, Stateful] = parts

    def save(self, name: str) -> dict[str, str]:
        """Write a snapshot; the one before it is on disk afterwards.

        Returns:
            The files that it needs and that a power cut could take away, and their digests.

        Raises:
            UnkeepableError: a part's state is of a kind that can't be read back safely.
            OSError: it can't be written, or the one before it can't be brought to disk.
        """
        return self.write(name, self.content())

    def content(self) -> dict[str, Any]:
        """The state of each part, by its name."""
        return {part: stateful.state_dict() for part, stateful in self._parts.items()}

    def write(self, name: str, content: Mapping[str, Any]) -> dict[str, str]:
        """Write what ``content`` gave; returns and raises what ``save`` does."""
        try:
            needed = self._files.write(name, {**content, "files": self._files.state_dict()})
        except UnkeepableError as error:
            found = (_culprit(state, f"the state of the {part}") for part, state in content.items())
            place = next((its for its in found if its is not None), name)
            raise UnkeepableError(f"{place}: {error}") from error
        return {**self._files.flush(), **needed}

    def load(self, name: str, digests: Mapping[str, str]) -> None:
        """Bring every part back to where the snapshot was taken.

        Args:
            digests: what ``save`` returned.

        Raises:
            CheckpointError: the file can't be read, or is another model's or training's.
        """
        self.bring_back(name, self.read(name, digests))

    def read(self, name: str, digests: Mapping[str, str]) -> Mapping[str, Any]:
        """What was written of a snapshot.

        Raises:
            CheckpointError: the file can't be read.
        """
        path = self._files.path(name)
        if name not in digests:
            raise CheckpointError(f"{path} is not among the files that the run tells of")
        content: Mapping[str, Any] = self._files.read(name, digests[name])
        return content

    def bring_back(self, name: str, content: Mapping[str, Any], *, files: bool = True) -> None:
        """Bring every part back to what ``read`` gave.

        Args:
            files: whether they are this process's.

        Raises:
            CheckpointError: it is another model's or training's.
        """
        path = self._files.path(name)
        parts = dict(self._parts)
        if files:
            parts["files"] = self._files
        for part, stateful in parts.items():
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
        """Remove a snapshot's file."""
        self._files.discard(name)


class CompressionState:
    """A controller's checkpoint, and what that leaves out: its schedule, and who teaches."""

    def __init__(self, controller: PTCompressionController) -> None:
        self._controller = controller
        self._teacher = Key()

    def state_dict(self) -> dict[str, Any]:
        """The model with its compression, the schedule's position, and the teacher."""
        distillation = self._controller.distillation
        return {
            "model": self._controller.state_dict(),
            "schedule": self._controller.scheduler.state_dict(),
            "teacher": distillation and Shared("teacher", distillation.state_dict(), self._teacher),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring back the model, the schedule and the teacher, in this order."""
        self._controller.load_state_dict(state["model"])
        self._controller.scheduler.load_state_dict(state["schedule"])
        if self._controller.distillation is not None:
            self._controller.distillation.load_state_dict(state["teacher"].content)
            self._teacher = state["teacher"].key


def _culprit(value: Any, place: str) -> str | None:
    """Where in a state the part of it is that can't be kept; None where all of it can."""
    if isinstance(value, Shared):
        return _culprit(value.content, place)
    parts: list[tuple[Any, str]] = []
    if type(value) in (dict, OrderedDict, Counter):
        parts = [(key, f"{place}, a key") for key in value]
        parts += [(entry, f"{place}, {key!r}") for key, entry in value.items()]
    elif type(value) in (list, tuple, set):
        parts = [(entry, f"{place}, item {at}") for at, entry in enumerate(value)]
    if parts:
        found = (_culprit(part, its) for part, its in parts)
        return next((its for its in found if its is not None), None)
    try:
        packed(value, lambda shared: ("", ""))
    except UnkeepableError:
        return place
    return None
