"""All that is wrong with the keys of a task, found out before anything is built."""

from __future__ import annotations

from accaware.errors import TaskError


class Faults:
    """Collects faults by the config's keys."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, key: str, message: str) -> None:
        """Note what is wrong with a key; nothing is raised yet."""
        self._found.append((key, message))

    def __bool__(self) -> bool:
        return bool(self._found)

    def check(self) -> None:
        """Raises: TaskError, with every fault."""
        if self._found:
            raise TaskError(self._found)
