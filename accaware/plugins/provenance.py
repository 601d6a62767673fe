"""Which code a plugin is, so that a change of it can be told."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path


def source_file(spec: str, directory: Path) -> Path | None:
    """The file of a loaded plugin's module; None where there is none, as for a built-in one."""
    head, colon, tail = spec.rpartition(":")
    source = head if head and colon and tail.isidentifier() else spec
    if source.endswith(".py"):
        return (directory / source).resolve()
    name = getattr(sys.modules.get(source), "__file__", None)
    return Path(name) if name else None


def source_digest(file: Path | None) -> str | None:
    """The SHA-256 of that file alone; what it imports isn't part of it."""
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def git_commit(file: Path | None) -> str | None:
    """The commit that the file's folder is at; None where it is in no repository."""
    if file is None:
        return None
    command = ["git", "-C", str(file.parent), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
