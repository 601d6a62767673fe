"""A run's states in files; what several of them have in common is in a file of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import torch

from accaware.errors import CheckpointError
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.state.checkpoint import reading, without_checksums
from accaware.pytorch.state.tensor_packing import Reference, packed, unpacked
from accaware.rundir import atomic
from accaware.rundir.file_names import is_file_name
from accaware.rundir.flush import BackgroundFlush


@dataclass(frozen=True)
class Parcel:
    """A state on its way to another folder.

    Attributes:
        state: what is known of its files.
        files: their contents by their names, but for those that the receiver has.
    """

    name: str
    state: Mapping[str, Any]
    files: Mapping[str, bytes]


class StateFiles:
    """Writes states, which are dicts with :class:`Shared` values in them, and reads them.

    A file with shared content lives as long as a state that refers to it. What was written
    survives the process at once, and a power cut after the ``flush`` behind the next one.

    Args:
        folder: for the files; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}
        self._needs: dict[str, dict[str, str]] = {}
        self._names: WeakKeyDictionary[Key, str] = WeakKeyDictionary()
        self._unflushed: dict[str, None] = {}
        self._flush = BackgroundFlush()
        self._flushed_before = False

    def path(self, name: str) -> Path:
        """The file of a state's name.

        Raises:
            CheckpointError: it is no name of a file in this folder.
        """
        if not is_file_name(name):
            raise CheckpointError(f"{self._folder}: {name!r} is not a name of a state")
        return self._folder / f"{name}.pt"

    def write(self, name: str, state: Mapping[str, Any]) -> dict[str, str]:
        """Write a state; an earlier one of that name is replaced.

        Returns:
            The files that it needs, its own included: their names and digests.

        Raises:
            OSError: it can't be written.
        """
        needs = self._write(name, state)
        before, self._needs[name] = self._needs.get(name, {}), needs
        self._drop(before)
        return {name: self._digests[name], **needs}

    def read(self, name: str, digest: str | None = None) -> Any:
        """A state as it was written.

        Args:
            digest: what ``write`` told of it; not needed for one that these files know.

        Raises:
            CheckpointError: a file can't be read, or isn't what was written.
        """
        needs: dict[str, str] = {}

        def resolve(shared: str, its: str) -> Shared:
            content = Shared(shared.partition("-")[0], self._content(shared, its, resolve))
            self._digests[shared] = needs[shared] = its
            self._names[content.key] = shared
            return content

        digest = digest or self._digests.get(name)
        if digest is None:
            raise CheckpointError(f"{self.path(name)} is not a state of this run's")
        state = self._content(name, digest, resolve)
        self._needs[name] = needs
        return state

    def discard(self, name: str) -> None:
        """Remove a state, and what no other one needs; it may be gone already."""
        self._remove(name)
        self._drop(self._needs.pop(name, {}))

    def flush(self) -> dict[str, str]:
        """Begin to bring to disk what was written since the last time, which is there now.

        Returns:
            The files that may not be there before the next time, and their digests.

        Raises:
            OSError: a file can't be brought to disk.
        """
        names = list(self._unflushed)
        self._unflushed.clear()
        self._flush.start([self.path(name) for name in names])
        if not self._flushed_before:
            # There is no earlier state to go back to.
            self._flush.wait()
        self._flushed_before = True
        return {name: self._digests[name] for name in names}

    def state_dict(self) -> dict[str, Any]:
        """What is known of the files that are there."""
        needs = {name: dict(its) for name, its in self._needs.items()}
        return {"digests": dict(self._digests), "needs": needs}

    def state_of(self, name: str) -> dict[str, Any]:
        """What is known of one state's files, for others that are to know them too."""
        needs = self._needs[name]
        return {"digests": {name: self._digests[name], **needs}, "needs": {name: dict(needs)}}

    def knows(self, name: str) -> bool:
        """Whether a state was written or read here, or is known from elsewhere."""
        return name in self._needs

    def know(self, state: Mapping[str, Any]) -> None:
        """Know the files of one state, which others have written; ``state_of`` told of it.

        Raises:
            CheckpointError: it names a file elsewhere.
        """
        self._check_names(state)
        self._digests.update(state["digests"])
        self._needs.update(state["needs"])
        self._unflushed.update(dict.fromkeys(state["digests"]))

    def packed(self, name: str, without: Set[str] = frozenset()) -> Parcel:
        """One state with its files, to be sent.

        Args:
            without: files that the receiver has.

        Raises:
            OSError: a file can't be read.
        """
        state = self.state_of(name)
        wanted = [file for file in state["digests"] if file not in without]
        return Parcel(name, state, {file: self.path(file).read_bytes() for file in wanted})

    def receive(self, parcel: Parcel) -> None:
        """Write the files of a state that was sent, and know them.

        Raises:
            CheckpointError: it names a file elsewhere.
            OSError: a file can't be written.
        """
        self._check_names(parcel.state)
        for name, content in parcel.files.items():
            if self._digests.get(name) != parcel.state["digests"][name]:
                self._flush.wait_removed(self.path(name))
                write_bytes = partial(_write_bytes, content=content)
                atomic.write_atomically(self.path(name), write_bytes, durable=False)
        self.know(parcel.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know the files of a state again.

        Raises:
            CheckpointError: it names a file elsewhere, which would be removed as one of these.
        """
        self._check_names(state)
        self._digests.update(state["digests"])
        self._needs.update(state["needs"])
        # Who wrote them may have been killed before they were on disk.
        self._unflushed.update(dict.fromkeys(self._digests))

    def _check_names(self, state: Mapping[str, Any]) -> None:
        for name in (
            *state["digests"],
            *state["needs"],
            *itertools.chain(*state["needs"].values()),
        ):
            self.path(name)

    def _write_shared(self, state: str, shared: Shared) -> str:
        """Named after the first state that has it: that name is as unique in a resumed run."""
        names = (f"{shared.kind}-{state}{'-again' * times}" for times in itertools.count())
        name = next(name for name in names if name not in self._digests)
        self._write(name, shared.content)
        self._names[shared.key] = name
        return name

    def _content(self, name: str, digest: str, resolve: Callable[[str, str], Shared]) -> Any:
        path = self.path(name)
        with reading(path):
            if atomic.digest_of(path) != digest:
                raise CheckpointError(f"{path} is damaged: it is not what was written")
            return unpacked(torch.load(path, map_location="cpu", weights_only=True), resolve)

    def _write(self, name: str, content: Any) -> dict[str, str]:
        """Returns: the other files that it refers to, and their digests."""
        needs: dict[str, str] = {}

        def refer(shared: Shared) -> Reference:
            other = self._names.get(shared.key) or self._write_shared(name, shared)
            needs[other] = self._digests[other]
            return other, needs[other]

        path, parts = self.path(name), packed(content, refer)
        self._flush.wait_removed(path)
        # The digest of the whole file is enough.
        with without_checksums():
            self._digests[name] = atomic.write_atomically(
                path, lambda file: torch.save(parts, file), durable=False
            )
        self._unflushed[name] = None
        return needs

    def _drop(self, shared: Iterable[str]) -> None:
        """Remove those of these that no state needs."""
        for name in shared:
            if not any(name in needs for needs in self._needs.values()):
                self._remove(name)
                for key in [key for key, its in self._names.items() if its == name]:
                    del self._names[key]

    def _remove(self, name: str) -> None:
        self._flush.remove(self.path(name))
        self._digests.pop(name, None)
        self._unflushed.pop(name, None)


def _write_bytes(file: IO[bytes], content: bytes) -> None:
    file.write(content)
