"""Names of states, which become names of files within one folder and lead nowhere else."""

from __future__ import annotations

import re
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def is_file_name(name: Any) -> bool:
    """Whether it is a plain name: no path, no drive, nothing hidden."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
