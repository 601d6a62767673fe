"""A file system that fails: the layer that all of a run's writing goes through."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest


class FullDisk:
    """Counts what is written, brought to disk and renamed, and fails from some call on.

    Args:
        fails_at: the number of the first call that fails; 0 for none.
        forever: whether all later ones fail too, as on a full disk, or just this one.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, fails_at: int = 0, *, forever: bool = True
    ) -> None:
        self.calls = 0
        self._fails_at = fails_at
        self._forever = forever
        self._write = os.write
        patch.setattr(os, "write", self._half_written)
        for name in ("fsync", "replace"):
            patch.setattr(os, name, self._failing(getattr(os, name)))

    def _fails(self) -> bool:
        self.calls += 1
        if not self._fails_at:
            return False
        return self.calls >= self._fails_at if self._forever else self.calls == self._fails_at

    def _half_written(self, descriptor: int, data: Any) -> int:
        """A full disk takes what it can; what comes next fails."""
        if not self._fails():
            return self._write(descriptor, data)
        self._write(descriptor, memoryview(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _failing(self, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if self._fails():
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return function(*arguments)

        return call
