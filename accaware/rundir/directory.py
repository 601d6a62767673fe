"""The folder that a run leaves behind."""

from __future__ import annotations

import itertools
import shutil
from contextlib import suppress
from pathlib import Path

from accaware.errors import UsageError


class RunDirectory:
    """Where each of a run's files goes. Made by :meth:`create` or :meth:`create_numbered`.

    ============== =====================================================
    config.json    the resolved config, every default filled in
    events.jsonl   the journal
    result.json    the outcome
    best/model.pt  the model that the run hands over
    checkpoints/   the search's own; gone once the run is over
    ============== =====================================================
    """

    def __init__(self, path: Path, created: tuple[Path, ...]) -> None:
        self.path = path
        self._created = created

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Claim ``path``, an existing folder or a new one.

        Raises:
            UsageError: it holds a run already, or can't be made.
        """
        try:
            directory = cls(path, _make(path))
            if any(file.exists() for file in directory._files()):
                raise FileExistsError
            # Of two runs that start at once, one makes this file and the other one fails.
            directory.events.touch(exist_ok=False)
        except FileExistsError:
            raise UsageError(
                f"{path}: holds a run already; name another directory with --output-dir"
            ) from None
        except OSError as error:
            raise UsageError(f"{path}: can't write a run here: {error.strerror}") from error
        return directory

    @classmethod
    def create_numbered(cls, name: str, parent: Path = Path("runs")) -> RunDirectory:
        """Make ``parent/name-1``, or the first number behind it that is free.

        Raises:
            UsageError: it can't be made.
        """
        try:
            created = _make(parent)
            for number in itertools.count(1):
                path = parent / f"{name}-{number}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                directory = cls(path, (*created, path))
                directory.events.touch()
                return directory
        except OSError as error:
            raise UsageError(f"{parent}: can't write a run here: {error.strerror}") from error
        raise AssertionError("there is always a free number")

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def model(self) -> Path:
        return self.path / "best" / "model.pt"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def drop_checkpoints(self) -> None:
        """The run is over: nobody will load them again."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def discard(self) -> None:
        """Undo the creation: nothing was trained. Files that others put here stay."""
        self.drop_checkpoints()
        for file in self._files():
            file.unlink(missing_ok=True)
        for folder in (self.model.parent, *reversed(self._created)):
            # Not there, or something else is in it: either way it isn't ours to remove.
            with suppress(OSError):
                folder.rmdir()

    def _files(self) -> tuple[Path, ...]:
        return self.config, self.events, self.result, self.model


def _make(path: Path) -> tuple[Path, ...]:
    """Make ``path`` and its parents where they are missing; those that were, outermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
    return tuple(reversed(missing))
