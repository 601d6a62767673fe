"""Plugins that come with accaware, by the names that configs have for them."""

from __future__ import annotations

BUILT_IN = "accaware.pytorch.builtin.classification:ImageClassification"
"""Runs a config that names a model, but no plugin."""

_SHORT = {"accaware.lightning": "accaware.pytorch.builtin.lightning:LightningTask"}


def spec_of(plugin: str | None) -> str:
    """Where a config's plugin is: what it says itself, but for short names and for none."""
    return BUILT_IN if plugin is None else _SHORT.get(plugin, plugin)
