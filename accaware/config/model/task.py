"""The keys of NNCF's classification samples: a model, its data and its training, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from accaware.config.model.typed import typed

_PUBLISHED = re.compile(r"(\w+_Weights\.)?[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What the built-in plugin for torchvision does; any plugin's class may take it.

    ``num_classes`` None is the data's own number. In a loaded config ``dataset_dir`` and
    ``weights``, where these are a file, are absolute paths.
    """

    model: str | None = None
    model_params: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    weights: str | None = None
    num_classes: int | None = None
    dataset: str = "imagenet"
    dataset_dir: str | None = None
    download: bool = False
    criterion: str = "cross_entropy"
    criterion_params: Mapping[str, Any] = field(default_factory=dict)
    mixed_precision: bool = False
    compile: bool = False
    channels_last: bool = False

    def given(self) -> list[str]:
        """The keys whose values aren't the defaults."""
        default = TaskConfig()
        return [
            one.name
            for one in fields(self)
            if getattr(self, one.name) != getattr(default, one.name)
        ]


def task_of(data: Mapping[str, Any], directory: Path) -> TaskConfig | None:
    """Of a whole config's data; None where it has none of the keys.

    Args:
        directory: where a relative path starts.
    """
    own = {one.name: data[one.name] for one in fields(TaskConfig) if one.name in data}
    if not own:
        return None
    for key in ("dataset_dir", "weights"):
        if isinstance(own.get(key), str) and not (key == "weights" and not is_file(own[key])):
            own[key] = str((directory / Path(own[key]).expanduser()).absolute())
    return typed(TaskConfig, own)


def is_file(weights: str) -> bool:
    """Whether weights are a file's, not those of an address or of a name in torchvision."""
    return not is_address(weights) and _PUBLISHED.fullmatch(weights) is None


def is_address(weights: str) -> bool:
    """Whether weights are those of an address, to be downloaded."""
    return "://" in weights
