"""The folder that a run leaves behind."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accaware.errors import UsageError
from accaware.rundir.atomic import digest_of, naming
from accaware.rundir.file_names import JOURNAL, holds_run, is_file_name
from accaware.rundir.journal_reader import SNAPSHOT, Recording, read_journal, recording_of


class RunDirectory:
    """Where each of a run's files goes: a new one, or one to go on with.

    ============== =====================================================
    config.json    the resolved config, every default filled in
    manifest.json  what the run is made with: versions, device, digests
    events.jsonl   the journal
    result.json    the outcome
    report.html    the outcome, to be looked at
    best/model.pt  the model that the run hands over
    exports/       the same for deployment, where that was asked for
    tensorboard/   event files, where that tracker was asked for
    mlflow.json    which run of an MLflow server is this one, likewise
    checkpoints/   what going on needs; gone once the search has ended
    .lock          held by the process that runs here
    ============== =====================================================
    """

    def __init__(self, path: Path, created: tuple[Path, ...], *, resumed: bool = False) -> None:
        self.path = path
        self.resumed = resumed
        self._created = created
        self._kept = resumed

    @classmethod
    def create(cls, path: Path, *, if_taken: str | None = None) -> RunDirectory:
        """Claim ``path``, an existing folder or a new one.

        Args:
            if_taken: what to do where it holds a run; None for what to do on the command line.

        Raises:
            UsageError: it holds a run already, or can't be made.
        """
        try:
            directory = cls(path, _make(path))
            # A lock alone is what a run left that failed before it was one.
            if any(file.exists() for file in directory._files() if file != directory.lock):
                raise FileExistsError
            # Of two runs that start at once, one makes this file and the other one fails.
            directory.events.touch(exist_ok=False)
        except FileExistsError:
            hint = if_taken or (
                f"go on with it by --resume {path}, or name another directory with --output-dir"
            )
            raise UsageError(f"{path}: holds a run already; {hint}") from None
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

    @classmethod
    def holds_run(cls, path: Path) -> bool:
        """Whether there is a run in ``path``, even one that was killed before it began."""
        return holds_run(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A directory that holds a run.

        Raises:
            UsageError: it doesn't.
        """
        directory = cls(path, (), resumed=True)
        if not cls.holds_run(path):
            raise UsageError(f"{path}: holds no run")
        return directory

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.json"

    @property
    def manifest(self) -> Path:
        """What the run is made with."""
        return self.path / "manifest.json"

    @property
    def lock(self) -> Path:
        """The file that the process that runs here holds."""
        return self.path / ".lock"

    @property
    def events(self) -> Path:
        """The journal."""
        return self.path / JOURNAL

    @property
    def result(self) -> Path:
        """What the search found."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The same, and how it came about, for people."""
        return self.path / "report.html"

    @property
    def model(self) -> Path:
        """The model that the run hands over."""
        return self.path / "best" / "model.pt"

    def check_has_model(self) -> None:
        """Refuse a run that has nothing to hand over yet.

        Raises:
            UsageError: it has none.
        """
        if not self.model.is_file():
            raise UsageError(f"{self.path}: the run has no model yet: there is no best/model.pt")

    @property
    def exports(self) -> Path:
        """The folder of the same model for deployment."""
        return self.path / "exports"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def mlflow(self) -> Path:
        """Which run of an MLflow server is this one."""
        return self.path / "mlflow.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of what going on needs."""
        return self.path / "checkpoints"

    @property
    def has_snapshot(self) -> bool:
        """Whether there is an epoch to go on from.

        Raises:
            JournalError: a line of the journal can't be read.
        """
        return any(line.event == SNAPSHOT for line in read_journal(self.events))

    def rewind(self) -> Recording:
        """Cut the journal off behind the last snapshot that is intact.

        Returns:
            What leads the search there; empty where it starts over.

        Raises:
            JournalError: a line can't be read, or no snapshot that is left.
            OSError: a file can't be read or written.
        """
        lines = read_journal(self.events)
        recording = recording_of(lines, self._intact, self.events)
        with naming(self.events):
            os.truncate(self.events, recording.end)
        return recording

    def _intact(self, file: str, digest: str) -> bool:
        if not is_file_name(file):
            return False
        try:
            return digest_of(self.checkpoints / f"{file}.pt") == digest
        except OSError:
            return False

    def drop_checkpoints(self) -> None:
        """The search has ended: nobody will load them again."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @contextmanager
    def provisional(self) -> Iterator[None]:
        """On leaving, the directory vanishes unless ``keep`` was called.

        To be entered before its lock is taken and its journal is opened: what is still open
        can't be removed on Windows.
        """
        try:
            yield
        finally:
            if not self._kept:
                self.discard()

    @property
    def kept(self) -> bool:
        """Whether there is something in it to go on with."""
        return self._kept

    def keep(self) -> None:
        """There is something in it to go on with."""
        self._kept = True

    def discard(self) -> None:
        """Undo the creation: nothing was trained. Files that others put here stay."""
        self.drop_checkpoints()
        for file in self._files():
            # Where it can't be removed, the error that brought us here is the one to tell.
            with suppress(OSError):
                file.unlink(missing_ok=True)
        for folder in (self.model.parent, *reversed(self._created)):
            # Not there, or something else is in it: either way it isn't ours to remove.
            with suppress(OSError):
                folder.rmdir()

    def _files(self) -> tuple[Path, ...]:
        named = self.config, self.manifest, self.events, self.result, self.report
        return *named, self.model, self.lock


def _make(path: Path) -> tuple[Path, ...]:
    """Make ``path`` and its parents where they are missing; those that were, outermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
    return tuple(reversed(missing))
