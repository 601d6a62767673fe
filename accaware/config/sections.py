"""Sections of a config that are right in themselves, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.config.model import AlgorithmConfig
from accaware.config.paths import Path
from accaware.search.params import SearchParams


@dataclass(frozen=True)
class Training:
    """``path`` is that of the parameters; ``given`` are the keys that the user wrote."""

    path: Path
    params: SearchParams
    given: frozenset[str]


@dataclass(frozen=True)
class Algorithm:
    """``path`` is that of the algorithm; ``given`` are its keys and those of its params."""

    path: Path
    config: AlgorithmConfig
    given: frozenset[str]

    def at(self, key: str) -> Path:
        """The path of one of its params."""
        return (*self.path, "params", key)

    def named(self, key: str, value: object) -> str:
        """``pruning_steps 100 (the default)``, for messages."""
        default = "" if key in self.given else " (the default)"
        return f"{key} {value}{default}"
