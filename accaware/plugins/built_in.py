"""Plugins that come with accaware, by the names that configs have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUILT_IN = "accaware.pytorch.builtin.classification:ImageClassification"
"""Runs a config that names a model, but no plugin."""

_LIGHTNING = "accaware.lightning"
_SHORT = {_LIGHTNING: "accaware.pytorch.builtin.lightning:LightningTask"}


def spec_of(plugin: str | None) -> str:
    """Where a config's plugin is: what it says itself, but for short names and for none."""
    return BUILT_IN if plugin is None else _SHORT.get(plugin, plugin)


def code_in(plugin: str | None, arguments: Mapping[str, Any]) -> list[str]:
    """Where the user's own code is that a built-in plugin is told of; nothing for other plugins."""
    if plugin != _LIGHTNING:
        return []
    named = (arguments.get(key) for key in ("module", "datamodule"))
    return [each for each in named if isinstance(each, str)]
