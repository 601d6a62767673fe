"""What a config consists of, by its names: which schemas its sections are checked against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from accaware.config.model.algorithms import algorithm_meant
from accaware.config.model.presets import PRESETS, Preset
from accaware.config.schema.catalog import definitions, properties, schema
from accaware.config.schema.misplaced_keys import Homes
from accaware.config.text.messages import closest
from accaware.config.text.paths import KeyPath

TRAINING: KeyPath = ("accuracy_aware_training",)
PRESET: KeyPath = (*TRAINING, "preset")
COMPRESSION: KeyPath = ("compression",)


class Entry(NamedTuple):
    """An algorithm's section: ``name`` is the algorithm that is probably meant, or None."""

    path: KeyPath
    data: Any
    name: str | None


@dataclass(frozen=True)
class Outline:
    """A whole config that is an object.

    Attributes:
        mode: the one that is probably meant; None where nothing names it.
        entries: of `compression`.
        preset: the one that is probably meant; None where there is none.
        optimizer_parts: the objects in `optimizer` whose schemas its type and schedule_type
            choose, with those names.
    """

    data: dict[str, Any]
    mode: str | None
    entries: tuple[Entry, ...]
    optimizer_parts: tuple[tuple[str, str], ...]
    preset: Preset | None = None

    @property
    def names(self) -> list[str]:
        """The algorithms that are known."""
        return [entry.name for entry in self.entries if entry.name]

    @property
    def added(self) -> tuple[Entry, ...]:
        """What the preset adds to the entries of `compression`, where there are any."""
        if self.preset is None or not self.entries:
            return ()
        missing = [one for one in self.preset.added if one["algorithm"] not in self.names]
        return tuple(
            Entry((*COMPRESSION, index), dict(one), one["algorithm"])
            for index, one in enumerate(missing, len(self.entries))
        )

    def add_homes(self, homes: Homes) -> None:
        """The objects of this config whose schemas are chosen by a name."""
        homes.add((*TRAINING, "params"), schema(self.mode or "adaptive_compression_level"))
        for entry in self.entries:
            if entry.name is not None:
                homes.add(entry.path, schema(entry.name))
        for part, name in self.optimizer_parts:
            homes.add(("optimizer", part), schema(f"optimizer#{name}"))


def outlined(data: dict[str, Any]) -> Outline:
    """The outline of a whole config's ``data``, right or wrong."""
    section = data.get("compression")
    if isinstance(section, dict):
        entries = entries_of([section], [COMPRESSION])
    else:
        several = section if isinstance(section, list) else []
        entries = entries_of(several, ((*COMPRESSION, index) for index in range(len(several))))
    return Outline(data, _mode(data), entries, tuple(_optimizer_parts(data)), _preset(data))


def entries_of(data: list[Any], paths: Iterable[KeyPath]) -> tuple[Entry, ...]:
    """Entries with their paths. More than fit together are refused; the first are looked at."""
    most: int = properties(schema("config"))["compression"]["maxItems"]
    return tuple(
        Entry(path, one, algorithm_meant(one) if isinstance(one, dict) else None)
        for path, one in list(zip(paths, data, strict=True))[:most]
    )


def _mode(data: dict[str, Any]) -> str | None:
    section = data.get("accuracy_aware_training")
    section = section if isinstance(section, dict) else {}
    params = section.get("params")
    params = params if isinstance(params, dict) else {}
    modes = properties(schema("accuracy_aware_training"))["mode"]["enum"]
    for home in (section, params, data):
        mode = home.get("mode")
        if isinstance(mode, str):
            meant = mode if mode in modes else closest(mode, modes)
            if meant is not None:
                return meant
    # No mode says so, but the keys that one of them needs do.
    return next((mode for mode in modes if set(schema(mode)["required"]) & params.keys()), None)


def _preset(data: dict[str, Any]) -> Preset | None:
    """Where it is wrong, that alone is told: any one keeps its keys from being missed."""
    section = data.get("accuracy_aware_training")
    if not isinstance(section, dict):
        return None
    unknown = section.keys() - properties(schema("accuracy_aware_training")).keys()
    misspelt = (key for key in unknown if closest(key, ["preset"]))
    written = "preset" if "preset" in section else next(misspelt, None)
    if written is None:
        return None
    name = section[written]
    if not isinstance(name, str):
        name = ""
    meant = name if name in PRESETS else closest(name, PRESETS)
    return PRESETS[meant or next(iter(PRESETS))]


def _optimizer_parts(data: dict[str, Any]) -> list[tuple[str, str]]:
    section = data.get("optimizer")
    if not isinstance(section, dict):
        return []
    chosen = {
        "optimizer_params": section.get("type", "SGD"),
        "schedule_params": section.get("schedule_type"),
    }
    known = definitions("optimizer")
    return [
        (part, name) for part, name in chosen.items() if isinstance(name, str) and name in known
    ]
