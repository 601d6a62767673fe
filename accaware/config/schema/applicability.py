"""Which keys of checked data count, by the schemas' x-used-with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accaware.config.schema.catalog import Schema, properties

Data = dict[str, Any]


def has_effect(about: Schema, siblings: Data) -> bool:
    """Whether x-used-with lets a key count, given the values around it with their defaults."""
    return any(
        all(siblings.get(other) in values for other, values in way.items()) for way in ways(about)
    )


def ways(about: Schema) -> Sequence[Mapping[str, Any]]:
    """What x-used-with says, as alternatives: the values that other keys need."""
    used_with = about.get("x-used-with", {})
    return used_with if isinstance(used_with, list) else [used_with]


def required_keys(of: Schema, data: Data) -> list[str]:
    """The keys that an object must have: of the schema's, those that have an effect in it."""
    around = siblings(of, data, {})
    keys = of.get("required", ())
    return [key for key in keys if has_effect(properties(of).get(key, {}), around)]


def with_defaults(of: Schema, data: Data) -> Data:
    """The object's values, and the schema's defaults for those that it doesn't give."""
    defaults = {
        key: about["default"] for key, about in properties(of).items() if "default" in about
    }
    return {**defaults, **data}


def siblings(of: Schema, data: Data, above: Data) -> Data:
    """The values, by key, that x-used-with may name for a key of ``data``.

    Those of the objects around it count too, and those of its `params`: an algorithm's initial
    level stands beside `params`, and the schedule that it serves within. Lists and objects are
    no such values; there may be thousands of them.
    """
    own = with_defaults(of, data).items()
    found = above | {key: value for key, value in own if not isinstance(value, dict | list)}
    params = properties(of).get("params")
    if params is not None:
        given = data.get("params")
        found |= with_defaults(params, given if isinstance(given, dict) else {})
    return found


def counting(of: Schema, data: Any, above: Data | None = None) -> Any:
    """A copy of ``data`` without the keys that have no effect, at any depth."""
    if isinstance(data, list):
        return [counting(of.get("items", {}), entry, above) for entry in data]
    if not isinstance(data, dict):
        return data
    around = siblings(of, data, above or {})
    return {
        key: counting(value_schema(of, key), value, around)
        for key, value in data.items()
        if has_effect(value_schema(of, key), around)
    }


def value_schema(of: Schema, key: str) -> Schema:
    """The schema of an object's value under ``key``; empty where there is none."""
    others = of.get("additionalProperties")
    found: Schema = properties(of).get(key, others if isinstance(others, dict) else {})
    return found


def fold_case(of: Schema, data: Any) -> Any:
    """A copy in which strings that may be written in any case are written as in the enum."""
    if isinstance(data, list) and "items" in of:
        return [fold_case(of["items"], entry) for entry in data]
    if isinstance(data, dict):
        return {key: fold_case(value_schema(of, key), value) for key, value in data.items()}
    if isinstance(data, str) and of.get("x-fold-case"):
        return next((name for name in of["enum"] if name.casefold() == data.casefold()), data)
    return data
