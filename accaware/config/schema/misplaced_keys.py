"""Where a key belongs that was written in the wrong object."""

from __future__ import annotations

from typing import Any

from accaware.config.schema.catalog import Schema, properties
from accaware.config.text.paths import KeyPath


class Homes:
    """The objects that a config may have, by the keys that they know.

    Nothing is done before the first question: most configs have no key in a wrong place.

    Args:
        data: of the config.
    """

    def __init__(self, data: Any = None) -> None:
        self._data = data
        self._added: list[tuple[KeyPath, Schema]] = []
        self._known: dict[tuple[KeyPath, str], KeyPath] = {}
        self._anywhere: dict[str, KeyPath] = {}

    def add(self, path: KeyPath, of: Schema) -> None:
        """The object at ``path``, and those within it, have the schema ``of``."""
        self._added.append((path, of))

    def _learn(self, path: KeyPath, of: Schema) -> None:
        for key, about in properties(of).items():
            if about.get("x-sample-key") or "x-unsupported" in about:
                continue
            self._known.setdefault((_section(path), key), path)
            self._anywhere.setdefault(key, path)
            if about.get("type") == "object":
                self._learn((*path, key), about)

    def has(self, path: KeyPath, key: str) -> bool:
        """Whether the config gives ``key`` in the object at ``path``."""
        here = self._data
        for step in path:
            inside = isinstance(here, dict | list) and (
                step in here if isinstance(here, dict) else step in range(len(here))
            )
            if not inside:
                return False
            here = here[step]
        return isinstance(here, dict) and key in here

    def of(self, key: str, path: KeyPath) -> KeyPath | None:
        """The object that ``key``, unknown in the one at ``path``, belongs to.

        It is sought in the same section, then at the top; from the top everywhere.
        """
        while self._added:
            self._learn(*self._added.pop(0))
        places = [self._known.get((_section(path), key)), self._known.get(((), key))]
        if not path:
            places.append(self._anywhere.get(key))
        return next((one for one in places if one is not None and one != path), None)


def _section(path: KeyPath) -> KeyPath:
    """Of a list, each entry is a section of its own."""
    return path[:2] if len(path) > 1 and isinstance(path[1], int) else path[:1]
