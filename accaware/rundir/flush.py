"""Files that are whole already, on their way from the system's memory to the disk, or off it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from accaware.rundir.atomic import naming, sync_folder


class BackgroundFlush:
    """Brings files to disk in batches, one at a time, while the caller does something else.

    Files that are no longer needed go in the same way: freeing megabytes takes a moment, too.

    A process that is killed loses nothing by the delay: what it handed to the system stays
    there. A power cut does, so before anything is removed that files of a batch are to replace,
    the batch has to be waited for. An interpreter that ends waits for it anyway.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "accaware-flush")
        self._batch: Future[None] | None = None
        self._removals: dict[Path, Future[None]] = {}

    def start(self, files: Sequence[Path]) -> None:
        """Wait for the batch before, then begin with these and their folders.

        Raises:
            OSError: as ``wait``.
        """
        self.wait()
        self._batch = self._thread.submit(_flush, tuple(files))

    def wait(self) -> None:
        """Wait until the batch at hand is on disk.

        Raises:
            OSError: a file of the batch can't be brought to disk, or one that was to go can't be
                removed; names it.
        """
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.result()
        for file in [file for file, removal in self._removals.items() if removal.done()]:
            self.wait_removed(file)

    def remove(self, file: Path) -> None:
        """Remove a file, which may be gone already, once the batch at hand is on disk."""
        self._removals[file] = self._thread.submit(_remove, file)

    def wait_removed(self, file: Path) -> None:
        """Before a new file takes its name.

        Raises:
            OSError: it can't be removed.
        """
        removal = self._removals.pop(file, None)
        if removal is not None:
            removal.result()


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _flush(files: Sequence[Path]) -> None:
    for file in files:
        # One that is gone by now was discarded.
        with naming(file), suppress(FileNotFoundError):
            descriptor = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    for folder in sorted({file.parent for file in files}):
        with naming(folder), suppress(FileNotFoundError):
            sync_folder(folder)
