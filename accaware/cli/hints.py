"""What a user is told to do next."""

from __future__ import annotations

import shlex
from pathlib import Path


def how_to_resume(path: Path) -> str:
    """For people to copy."""
    return f"to go on: accaware run --resume {shlex.quote(str(path))}"
