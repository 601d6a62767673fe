"""manifest.json: what a run was made with, to tell whether it can be gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from accaware.errors import UsageError
from accaware.results import strict_json
from accaware.rundir.atomic import write_text

FORMAT_VERSION = 2
"""Version 1 told a device's kind and not its hardware."""

_TRAINING = "accuracy_aware_training"
_SAFE = (f"{_TRAINING}.params.maximal_total_epochs", f"{_TRAINING}.params.patience_epochs")
"""Limits that may be raised: what was trained until then would have been the same."""


@dataclass(frozen=True)
class ManifestDifference:
    """One thing that isn't as it was when the run began.

    Attributes:
        safe: no reason not to go on unasked: the search goes on as if it had been so from the
            beginning, but for how sums are rounded; or ``effect`` says what else.
        effect: what the difference changes.
    """

    what: str
    before: Any
    now: Any
    safe: bool = False
    effect: str = ""

    def __str__(self) -> str:
        both = f"{self.what}: {_shown(self.before)} when the run began, {_shown(self.now)} now"
        return f"{both}; {self.effect}" if self.effect else both


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run is made of.

    Attributes:
        versions: of accaware, python and torch.
        device: as torch calls it.
        hardware: what computes there: the GPU's name and number, or the CPU's model; None where
            an earlier accaware began the run.
        config: the resolved config; its digest is written beside it.
        plugin: as the config names it.
        plugin_digest: of its source file; None where it has none.
        plugin_commit: of the git repository it is in, if any.
        processes: that train one model.
    """

    versions: Mapping[str, str]
    device: str
    hardware: str | None
    seed: int
    config: Mapping[str, Any] = field(repr=False)
    plugin: str
    plugin_digest: str | None
    plugin_commit: str | None
    processes: int = 1

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: it can't be written; an earlier manifest is intact.
        """
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        digest = config_digest(self.config)
        head = {"format": "accaware.run", "version": FORMAT_VERSION}
        write_text(path, strict_json.document({**head, **content, "config_digest": digest}))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest in a file.

        Raises:
            UsageError: it is none, or a newer accaware's.
            OSError: the file can't be read.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["version"]
            if version > FORMAT_VERSION:
                raise UsageError(
                    f"{path}: format version {version}; this accaware reads up to {FORMAT_VERSION}"
                )
            if version == 1:
                content["hardware"] = None
            content.setdefault("processes", 1)  # of a run that an earlier accaware began
            return cls(**{field.name: content[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: can't be read: {error!r}") from error

    def differences(self, now: Manifest) -> list[ManifestDifference]:
        """What differs, in the order of a reader's interest. A commit alone is no difference."""
        found = config_differences(self.config, now.config)
        if self.plugin_digest != now.plugin_digest:
            before, after = self.plugin_digest, now.plugin_digest
            found.append(ManifestDifference("the plugin's source (SHA-256)", before, after))
        for name in sorted({*self.versions, *now.versions}):
            before, after = self.versions.get(name), now.versions.get(name)
            if before != after:
                found.append(ManifestDifference(f"the version of {name}", before, after))
        if self.device != now.device:
            found.append(ManifestDifference("the device", self.device, now.device))
        if self.hardware != now.hardware and self.hardware is not None:
            # Another machine with a device of the same kind is what runs are resumed on.
            found.append(ManifestDifference("the hardware", self.hardware, now.hardware, safe=True))
        if self.processes != now.processes:
            counts = self.processes, now.processes
            effect = _effect_of_processes(now.config, *counts)
            found.append(ManifestDifference("the number of processes", *counts, True, effect))
        return found


def config_differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[ManifestDifference]:
    """What differs between two resolved configs, by keys with dots."""
    return list(_differing("", before, now))


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of a resolved config, by which its files can be told from others."""
    return hashlib.sha256(strict_json.line(config).encode()).hexdigest()


def _differing(place: str, before: Any, now: Any) -> Iterator[ManifestDifference]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            inner = f"{place}.{key}" if place else key
            yield from _differing(inner, before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, pair in enumerate(zip(before, now, strict=True)):
            yield from _differing(f"{place}.{at}", *pair)
    elif before != now:
        numbers = isinstance(before, int) and isinstance(now, int)
        yield ManifestDifference(place, before, now, place in _SAFE and numbers and now > before)


def _effect_of_processes(config: Mapping[str, Any], before: int, now: int) -> str:
    """What another number of them changes, in a clause."""
    effect = "other samples meet in a batch, and other random numbers are drawn"
    size = config.get("batch_size")
    if size is None:
        return effect
    return (
        f"a training step is of {size * now} samples, and was of {size * before} (batch_size_total "
        f"would keep it); {effect}"
    )


def _shown(value: Any) -> str:
    return "nothing" if value is None else strict_json.line(value)
