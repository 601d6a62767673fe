"""Files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write ``path`` in one go: a reader sees the old text or the new one, never half of it.

    Even a crash right after this returns leaves the new text on disk.
    """
    # Beside the target, since a rename is atomic only within a file system.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
