"""What the schemas' own annotations say about a config: no key is without effect in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accaware.config.catalog import Schema, properties, schema
from accaware.config.fault import Fault, warning
from accaware.config.paths import Path
from accaware.config.wording import listed, shown


def notices(name: str, data: Any, path: Path) -> list[Fault]:
    """Ignored, unsupported and doubled keys of ``data``, which stands at ``path``."""
    return list(_walk(schema(name), data, path, {}))


def has_effect(about: Schema, siblings: dict[str, Any]) -> bool:
    """Whether x-used-with lets a key count, given the object's values with their defaults."""
    return all(
        siblings.get(other) in values for other, values in about.get("x-used-with", {}).items()
    )


def with_defaults(of: Schema, data: dict[str, Any]) -> dict[str, Any]:
    """The object's values, and the schema's defaults for those that it doesn't give."""
    defaults = {
        key: about["default"] for key, about in properties(of).items() if "default" in about
    }
    return {**defaults, **data}


def fold_case(of: Schema, data: Any) -> Any:
    """A copy in which strings that may be written in any case are written as in the enum."""
    if isinstance(data, list) and "items" in of:
        return [fold_case(of["items"], entry) for entry in data]
    if isinstance(data, dict):
        known = properties(of)
        return {key: fold_case(known.get(key, {}), value) for key, value in data.items()}
    if isinstance(data, str) and of.get("x-fold-case"):
        return next((name for name in of["enum"] if name.casefold() == data.casefold()), data)
    return data


def _walk(of: Schema, data: Any, path: Path, above: dict[str, Any]) -> Iterator[Fault]:
    """``above`` has the values, by key, that x-used-with may name besides the object's own.

    An algorithm's initial level stands beside `params`, and the schedule that it serves within.
    """
    if isinstance(data, list):
        for index, entry in enumerate(data):
            yield from _walk(of.get("items", {}), entry, (*path, index), above)
    if not isinstance(data, dict):
        return
    siblings = with_defaults(of, data)
    params = properties(of).get("params")
    if params is not None:
        given = data.get("params")
        siblings |= with_defaults(params, given if isinstance(given, dict) else {})
    for key, value in data.items():
        about = properties(of).get(key)
        if about is None:
            continue
        yield from _about(key, value, about, data, siblings, path)
        yield from _walk(about, value, (*path, key), siblings)


def _about(
    key: str, value: Any, about: Schema, data: dict[str, Any], siblings: dict[str, Any], path: Path
) -> Iterator[Fault]:
    place = (*path, key)
    ignored = about.get("x-ignored")
    if ignored is not None and ignored.get("when", value) == value:
        yield warning(place, f"is ignored: {ignored['why']}")
    if "x-unsupported" in about:
        message = f"{about['x-unsupported']} is not supported by this version; take this out"
        yield Fault(place, message, at_key=True)
    if not has_effect(about, siblings):
        (other, values), *_ = about["x-used-with"].items()
        yield warning(
            place,
            f"is ignored: it counts where {other} is {listed(map(_bare, values))}, "
            f"not {_bare(siblings.get(other))}",
        )
    for rival in (about.get("x-alias-of"), about.get("x-excludes")):
        if rival is not None and rival in data:
            same = "mean the same" if rival == about.get("x-alias-of") else "exclude each other"
            both = f"{key} ({shown(value)}) and {rival} ({shown(data[rival])}) {same}; keep one"
            yield Fault(place, both, at_key=True)


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)
