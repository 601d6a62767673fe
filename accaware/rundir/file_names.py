"""Names of files within one folder: states' lead nowhere else, and the journal's tells a run."""

from __future__ import annotations

import os
import re
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


JOURNAL = "events.jsonl"
"""The first file of a run that is made, and the last that would go."""


def holds_run(folder: str | os.PathLike[str]) -> bool:
    """Whether there is a run in it, even one that was killed before it began."""
    return os.path.isfile(os.path.join(folder, JOURNAL))


def is_file_name(name: Any) -> bool:
    """Whether it is a plain name: no path, no drive, nothing hidden."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
