"""A section with the keys that a preset stands for, where the config doesn't give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accaware.config.schema.applicability import (
    Data,
    has_effect,
    siblings,
    value_schema,
)
from accaware.config.schema.catalog import Schema
from accaware.config.text.paths import KeyPath


def filled(of: Schema, data: Data, keys: Mapping[str, Any], above: Data | None = None) -> Data:
    """A copy of ``data`` with those of the ``keys`` that it doesn't give itself.

    A key is left out that would be without effect beside the others. Where
    ``data`` has something else in an object's place, that is its own fault.

    Args:
        of: the schema of ``data``.
        above: the values of the objects around it, by key.
    """
    around = siblings(of, {**keys, **data}, above or {})
    copy = dict(data)
    for key, value in keys.items():
        about = value_schema(of, key)
        if isinstance(value, Mapping):
            inside = data.get(key, {})
            inside = filled(about, inside, value, around) if isinstance(inside, dict) else {}
            if inside:
                copy[key] = inside
        elif key not in data and has_effect(about, around):
            copy[key] = value
    return copy


def added(data: Data, filled: Data, path: KeyPath) -> Iterator[KeyPath]:
    """The paths of what ``filled`` has more than ``data``, which stands at ``path``."""
    for key, value in filled.items():
        if key not in data:
            yield (*path, key)
        elif isinstance(value, dict) and isinstance(data[key], dict):
            yield from added(data[key], value, (*path, key))
