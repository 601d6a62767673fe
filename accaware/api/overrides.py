"""What changes keys of a config on the way to its use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.config.model.file_paths import located_plugin
from accaware.errors import UsageError

Changes = Mapping[str, Any] | Iterable[str]
"""Dotted keys of a config and their values, or ``KEY=VALUE`` each, as `--set` has them."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """All that changes keys of a config; None, False and empty where it wasn't said.

    Attributes:
        plugin: as a config names it, or the module, class or object itself.
        trackers: by their names; none of them where it is empty.
        changes: of any other key.
    """

    plugin: Any = None
    data: str | Path | None = None
    download: bool = False
    device: str | None = None
    seed: int | None = None
    trackers: Sequence[str] | None = None
    changes: Changes = ()

    @property
    def handed_over(self) -> Any:
        """The plugin, where it was handed over itself and not named."""
        return None if isinstance(self.plugin, str | Path) else self.plugin

    def as_settings(self) -> tuple[str, ...]:
        """All of them as ``KEY=VALUE``.

        Raises:
            UsageError: a value is none that a config can have.
        """
        named = self.plugin if self.handed_over is None else None
        own = {
            # In a config, a relative path would start at the config's folder.
            "plugin": located_plugin(str(named), Path.cwd()) if named else None,
            "dataset_dir": str(Path(self.data).expanduser().absolute()) if self.data else None,
            "download": self.download or None,
            "device": self.device,
            "seed": self.seed,
            "trackers": None if self.trackers is None else list(self.trackers),
        }
        said = {key: value for key, value in own.items() if value is not None}
        return (*_settings(self.changes), *_settings(said))


def _settings(changes: Changes) -> list[str]:
    if not isinstance(changes, Mapping):
        return list(changes)
    return [f"{key}={_json(key, value)}" for key, value in changes.items()]


def _json(key: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"overrides: {key}: {value!r} is no JSON value: {error}") from error
