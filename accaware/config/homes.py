"""Where a key belongs that was written in the wrong object."""

from __future__ import annotations

from accaware.config.catalog import Schema, properties
from accaware.config.paths import Path


class Homes:
    """The objects that a config may have, by the keys that they know.

    Args:
        root: the schema of the whole.
    """

    def __init__(self, root: Schema) -> None:
        self._known: dict[tuple[Path, str], Path] = {}
        self._anywhere: dict[str, Path] = {}
        self.add((), root)

    def add(self, path: Path, of: Schema) -> None:
        """The object at ``path``, and those within it, have the schema ``of``."""
        for key, about in properties(of).items():
            if about.get("x-sample-key"):
                continue
            self._known.setdefault((_section(path), key), path)
            self._anywhere.setdefault(key, path)
            if about.get("type") == "object":
                self.add((*path, key), about)

    def of(self, key: str, path: Path) -> Path | None:
        """The object that ``key``, unknown in the one at ``path``, belongs to.

        It is sought in the same section, then at the top; from the top everywhere.
        """
        places = [self._known.get((_section(path), key)), self._known.get(((), key))]
        if not path:
            places.append(self._anywhere.get(key))
        return next((one for one in places if one is not None and one != path), None)


def _section(path: Path) -> Path:
    """Of a list, each entry is a section of its own."""
    return path[:2] if len(path) > 1 and isinstance(path[1], int) else path[:1]
