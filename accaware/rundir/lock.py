"""One process at a time in a run's directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from accaware.errors import UsageError
from accaware.rundir.atomic import naming

_PATIENCE = 1.0
"""Seconds; asking for the state of a run holds its lock for a moment."""


@contextmanager
def locked(path: Path, lock_file: Path) -> Iterator[None]:
    """Hold the directory ``path``. The system lets go of it when the process dies, however it does.

    Raises:
        UsageError: another process holds it.
        OSError: the lock can't be made; names the file.
    """
    lock = FileLock(lock_file)
    try:
        with naming(lock_file):
            lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise UsageError(f"{path}: another process is running it") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(lock_file: Path) -> bool:
    """Whether a process is running there."""
    if not lock_file.exists():
        return False
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False  # we may not write here, and can't tell
    lock.release()
    return False
