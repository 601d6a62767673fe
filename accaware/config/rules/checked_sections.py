"""Sections of a config as far as they are right, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.config.model.config import AlgorithmConfig
from accaware.config.rules.initial_phase import follows_schedules
from accaware.config.text.paths import KeyPath
from accaware.search.params import AdaptiveParams, SearchParams


@dataclass(frozen=True)
class Training:
    """``path`` is that of the parameters; ``given`` are the keys that the user wrote.

    In ``params`` a stand-in takes the place of each of the ``faulty`` keys.
    """

    path: KeyPath
    params: SearchParams
    given: frozenset[str]
    faulty: frozenset[str] = frozenset()

    def knows(self, *keys: str) -> bool:
        """Whether all these are right, so that a rule may look at them."""
        return self.faulty.isdisjoint(keys)

    @property
    def follows_schedules(self) -> bool:
        """Whether anything follows the schedule of an algorithm."""
        return follows_schedules(self.params)

    @property
    def without_initial_phase(self) -> str:
        """The key by which nothing follows a schedule, for messages."""
        params = self.params
        if not isinstance(params, AdaptiveParams) or params.strategy == "uniform_decrease":
            return "initial_training_phase_epochs 0"
        return f"strategy {params.strategy}{'' if 'strategy' in self.given else ' (by the preset)'}"


@dataclass(frozen=True)
class Algorithm:
    """``path`` is that of the algorithm; ``given`` are its keys and those of its params.

    In ``config`` the default takes the place of each of the ``faulty`` keys.
    """

    path: KeyPath
    config: AlgorithmConfig
    given: frozenset[str]
    faulty: frozenset[str] = frozenset()

    def knows(self, *keys: str) -> bool:
        """Whether all these are right, so that a rule may look at them."""
        return self.faulty.isdisjoint(keys)

    def at(self, key: str) -> KeyPath:
        """The path of one of its params."""
        return (*self.path, "params", key)

    def named(self, key: str, value: object) -> str:
        """``pruning_steps 100 (the default)``, for messages."""
        default = "" if key in self.given else " (the default)"
        return f"{key} {value}{default}"
