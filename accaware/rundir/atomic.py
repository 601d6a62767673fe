"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def write_text(path: Path, text: str) -> None:
    """As ``write_atomically``, for a text."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True
) -> str:
    """Write ``path`` in one go: a reader sees the old content or the new one, never half of it.

    One process at a time may write a path: the draft's name is always the same, so that kills
    leave no heap of them.

    Args:
        write: called with the file to write to.
        durable: even a power cut right after this returns leaves the new content on disk. Where
            not, ``path`` must be new, and the caller brings it there.

    Returns:
        The content's digest, as ``digest_of`` gives it.

    Raises:
        OSError: names the path; what was there before is intact.
    """
    # Beside the target, since a rename is atomic only within a file system.
    draft = path.with_name(f".{path.name}.unfinished")
    try:
        with naming(path):
            digest = _write(draft, write, durable=durable)
            os.replace(draft, path)
            if durable:
                sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return digest


def digest_of(path: Path) -> str:
    """The XXH3-128 of a file's content, in hexadecimal digits.

    Against damage, not against somebody who means harm: who can write the files can write the
    digests as well. It takes a twentieth of the time of a cryptographic one.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def write_all(descriptor: int, data: ReadableBuffer) -> None:
    """``os.write`` until everything is written: a disk that fills up takes a part first."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync_folder(path: Path) -> None:
    """Bring a rename in ``path`` to disk; without it a power cut may take it back."""
    if os.name == "nt":
        return  # folders can't be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system name ``path``; those of write and fsync know only a number."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool) -> str:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        sink = _Sink(descriptor)
        with io.BufferedWriter(sink) as file:
            write(file)
        if sink.error is not None:
            raise sink.error
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return sink.digest.hexdigest()


class _Sink(io.RawIOBase):
    """Writes to a descriptor, and digests what it writes.

    An error is kept for later, and what comes after it is dropped: torch.save would bury an
    exception under one of its own.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.digest = xxhash.xxh3_128()
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        if self.error is None:
            try:
                write_all(self._descriptor, data)
                self.digest.update(data)
            except OSError as error:
                self.error = error
        return size
