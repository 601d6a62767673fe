"""Data against one schema: jsonschema finds what is wrong, the sentences are ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from accaware.config.catalog import Schema, properties, schema
from accaware.config.fault import Fault
from accaware.config.homes import Homes
from accaware.config.paths import Path, dotted
from accaware.config.wording import closest, listed, shown

_MOST_SUGGESTIONS = 40
"""For one object; each takes a part of a millisecond, and a file has room for thousands."""

_NOUNS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object in braces",
}


def conformance(name: str, data: Any, path: Path, homes: Homes) -> list[Fault]:
    """All faults of ``data``, which stands at ``path``, against the schema ``name``."""
    found: dict[Fault, None] = {}
    for error in _validator(name).iter_errors(data):
        place = (*path, *error.absolute_path)
        for fault in _faults(error, place, homes):
            found[fault] = None  # a missing key is reported by jsonschema once for each of them
    return list(found)


@cache
def _validator(name: str) -> Any:
    from jsonschema.validators import Draft202012Validator  # a tenth of a second

    return Draft202012Validator(schema(name))


def _faults(error: Any, path: Path, homes: Homes) -> Iterator[Fault]:
    value, bound, of = error.instance, error.validator_value, error.schema
    match error.validator:
        case "required":
            for key in bound:
                if key not in value:
                    yield Fault((*path, key), _missing(key, of), at_key=True)
        case "additionalProperties":
            unknown = [key for key in value if key not in of["properties"]]
            for index, key in enumerate(unknown):
                yield _unknown(key, of, path, homes, suggest=index < _MOST_SUGGESTIONS)
        case "enum":
            yield _not_among(value, bound, of, path)
        case "type":
            kinds = [bound] if isinstance(bound, str) else bound
            nouns = listed(_NOUNS[kind] for kind in kinds)
            what = f"{shown(value)} is not {nouns}"
            yield Fault(path, what if path else f"a config is {nouns}, not {shown(value)}")
        case "minimum":
            yield Fault(path, f"{shown(value)} is below the minimum {bound}")
        case "maximum":
            yield Fault(path, f"{shown(value)} is above the maximum {bound}")
        case "exclusiveMinimum":
            yield Fault(path, f"{shown(value)} is not above {bound}")
        case "exclusiveMaximum":
            yield Fault(path, f"{shown(value)} is not below {bound}")
        case "minItems":
            yield Fault(path, f"has {len(value)} entries, at least {bound} needed")
        case "maxItems":
            yield Fault(path, f"has {len(value)} entries, at most {bound} possible")
        case "minLength":
            yield Fault(path, "is an empty string")
        case "pattern":
            meant = closest(value, of["examples"])
            hint = f"; did you mean {meant}?" if meant else ""
            message = f"{shown(value)} is not {of['x-expected']}{hint}"
            yield Fault(path, message, suggestion=meant)
        case other:  # a keyword new to the schema files, which has no sentence yet
            yield Fault(path, f"{shown(value)} does not satisfy {other}: {shown(bound)}")


def _missing(key: str, of: Schema) -> str:
    about = properties(of).get(key, {})
    if "enum" in about:
        return f"is missing; it is {listed(about['enum'])}"
    return f"is missing: {about['description']}" if "description" in about else "is missing"


def _unknown(key: str, of: Schema, path: Path, homes: Homes, *, suggest: bool) -> Fault:
    place, home = (*path, key), homes.of(key, path)
    if home is not None:
        here, there = dotted(path) or "the config", dotted(home) or "the top of the config"
        message = f"is not a key of {here}; it belongs into {there}"
        return Fault(place, message, suggestion=dotted((*home, key)), at_key=True)
    meant = closest(key, properties(of)) if suggest else None
    message = "is not a known key" + (f"; did you mean {meant}?" if meant else "")
    return Fault(place, message, suggestion=meant, at_key=True)


def _not_among(value: Any, choices: list[Any], of: Schema, path: Path) -> Fault:
    replacements = of.get("x-unsupported-values", {})
    if isinstance(value, str) and value in replacements:
        instead = replacements[value]
        message = f"{shown(value)} is not supported by this version; use {instead}"
        return Fault(path, message)
    meant = closest(value, choices) if isinstance(value, str) else None
    hint = f"; did you mean {meant}?" if meant else ""
    message = f"{shown(value)} is not {listed(choices)}{hint}"
    return Fault(path, message, suggestion=meant)
