"""All that is wrong with the keys of a task, found out before anything is built."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from accaware.errors import TaskError


class Faults:
    """Collects faults by the config's keys."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, key: str, message: str) -> None:
        self._found.append((key, message))

    def check(self) -> None:
        """Raises: TaskError, with every fault."""
        if self._found:
            raise TaskError(self._found)


def did_you_mean(wanted: str, offered: Iterable[str]) -> str:
    close = difflib.get_close_matches(wanted.lower(), list(offered), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""
