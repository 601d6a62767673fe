"""A run's states in files; what several of them have in common is in a file of its own."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from accaware.errors import CheckpointError
from accaware.pytorch.checkpoint import read_file, verify_file, write_file
from accaware.pytorch.packing import packed, unpacked
from accaware.pytorch.shared import Key, Shared

_REFERENCE = "accaware.shared"
"""The key of a dict that stands for shared content: its file, beside the digest."""


class StateFiles:
    """Writes states, which are dicts with :class:`Shared` values in them, and reads them.

    A file with shared content lives as long as a state that refers to it. Nothing is ever
    overwritten that a state which wasn't discarded refers to.

    Args:
        folder: for the files; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}
        self._needs: dict[str, dict[str, str]] = {}
        self._names: WeakKeyDictionary[Key, str] = WeakKeyDictionary()
        self._count = 0

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"

    def write(self, name: str, state: Mapping[str, Any]) -> dict[str, str]:
        """Write a state.

        Returns:
            The files that it needs, its own included: their names and SHA-256.

        Raises:
            OSError: it can't be written.
        """
        needs: dict[str, str] = {}
        content = self._with_references(state, needs)
        self._digests[name] = write_file(packed(content), self.path(name))
        self._needs[name] = needs
        return {name: self._digests[name], **needs}

    def read(self, name: str) -> Any:
        """A state as it was written.

        Raises:
            CheckpointError: a file can't be read, or isn't what was written.
        """
        needs: dict[str, str] = {}
        state = self._resolved(self._content(name), needs)
        self._needs[name] = needs
        return state

    def discard(self, name: str) -> None:
        """Remove a state, and what no other one needs; it may be gone already."""
        self._remove(name)
        for shared in self._needs.pop(name, {}):
            if not any(shared in needs for needs in self._needs.values()):
                self._remove(shared)

    def state_dict(self) -> dict[str, Any]:
        """What is known of the files that are there."""
        needs = {name: dict(its) for name, its in self._needs.items()}
        return {"digests": dict(self._digests), "needs": needs, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._digests.update(state["digests"])
        self._needs.update(state["needs"])
        self._count = state["count"]

    def _with_references(self, value: Any, needs: dict[str, str]) -> Any:
        if isinstance(value, Shared):
            name = self._names.get(value.key)
            if name not in self._digests:
                name = self._write_shared(value)
            assert name is not None
            needs[name] = self._digests[name]
            return {_REFERENCE: name, "digest": needs[name]}
        if type(value) is dict:
            return {key: self._with_references(each, needs) for key, each in value.items()}
        return value

    def _write_shared(self, shared: Shared) -> str:
        self._count += 1
        name = f"{shared.kind}-{self._count}"
        self._digests[name] = write_file(packed(shared.content), self.path(name))
        self._names[shared.key] = name
        return name

    def _resolved(self, value: Any, needs: dict[str, str]) -> Any:
        if type(value) is not dict:
            return value
        if _REFERENCE not in value:
            return {key: self._resolved(each, needs) for key, each in value.items()}
        name = value[_REFERENCE]
        self._digests[name] = needs[name] = value["digest"]
        shared = Shared(name.rpartition("-")[0], self._content(name))
        self._names[shared.key] = name
        return shared

    def _content(self, name: str) -> Any:
        path = self.path(name)
        if name in self._digests:
            verify_file(path, self._digests[name])
        content = read_file(path)
        try:
            return unpacked(content)
        except (KeyError, TypeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} is not a state that accaware saved") from error

    def _remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)
        self._digests.pop(name, None)
