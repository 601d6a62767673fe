"""Data against one schema: jsonschema finds what is wrong, the sentences are ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from accaware.config.schema.applicability import Data, required_keys
from accaware.config.schema.catalog import Schema, properties, schema
from accaware.config.schema.misplaced_keys import Homes
from accaware.config.text.fault import Fault
from accaware.config.text.messages import closest, listed, shown
from accaware.config.text.paths import KeyPath, dotted

_MOST_SUGGESTIONS = 40
"""For one object; each takes a part of a millisecond, and a file has room for thousands."""

_NOT_KNOWN = (
    "is not a known key; it can be taken out, or put into plugin_args for a plugin that reads it"
)

_NOUNS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object in braces",
}


def conformance(
    name: str, data: Any, path: KeyPath, homes: Homes, assumed: Data | None = None
) -> list[Fault]:
    """All faults of ``data``, which stands at ``path``, against the schema ``name``.

    Those that know of a key which key was meant come first. By that key's value others may be
    required, so these are not missed.

    Args:
        assumed: keys that count besides those of ``data``, by which others may be required.
    """
    of, found = schema(name), dict[Fault, None]()
    for error in _validator(name).iter_errors(data):
        place = (*path, *error.absolute_path)
        besides = {} if error.absolute_path else assumed or {}
        for fault in _faults(error, place, homes, besides):
            found[fault] = None  # a missing key is reported by jsonschema once for each of them
    undecided: set[KeyPath] = set()
    if isinstance(data, dict):
        whole = {**(assumed or {}), **data}
        misspelt = {str(fault.meant[-1]): None for fault in found if fault.meant is not None}
        needed, sure = required_keys(of, whole), required_keys(of, {**whole, **misspelt})
        undecided = {(*path, key) for key in needed if key not in sure and key not in whole}
    told = [fault for fault in found if fault.path not in undecided]
    return sorted(told, key=lambda fault: fault.meant is None)


@cache
def _validator(name: str) -> Any:
    from jsonschema.validators import Draft202012Validator  # a tenth of a second

    return Draft202012Validator(schema(name))


def _faults(error: Any, path: KeyPath, homes: Homes, assumed: Data) -> Iterator[Fault]:
    value, bound, of = error.instance, error.validator_value, error.schema
    match error.validator:
        case "required":
            for key in required_keys(of, {**assumed, **value}):
                if key not in value:
                    yield Fault((*path, key), _missing(key, of), at_key=True)
        case "additionalProperties":
            yield from _unknown_keys(value, of, path, homes)
        case "enum":
            yield _not_among(value, bound, of, path)
        case "type" if "enum" in of:
            pass  # the enum's own fault says more
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
            # Such a key may take a number as well.
            meant = closest(value, [each for each in of["examples"] if isinstance(each, str)])
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


def _unknown_keys(
    value: dict[str, Any], of: Schema, path: KeyPath, homes: Homes
) -> Iterator[Fault]:
    known = properties(of)
    unknown = [key for key in value if key not in known]
    given = {other for key in value for other in (key, *_rivals(known.get(key, {})))}
    may_be_meant = {
        key
        for key, about in known.items()
        if key not in given and given.isdisjoint(_rivals(about)) and _has_effect(about)
    }
    for index, key in enumerate(unknown):
        home = homes.of(key, path)
        if home is not None:
            yield _misplaced(key, path, home, homes)
            continue
        meant = _formerly(key, known)
        if meant is None and index < _MOST_SUGGESTIONS:
            meant = closest(key, known)
        if meant not in may_be_meant:
            yield Fault((*path, key), _NOT_KNOWN, at_key=True)
            continue
        may_be_meant.discard(meant)
        message = f"is not a known key; did you mean {meant}?"
        yield Fault((*path, key), message, suggestion=meant, at_key=True, meant=(*path, meant))


def _rivals(about: Schema) -> list[str]:
    """Keys beside which this one may not stand."""
    return [about[kind] for kind in ("x-alias-of", "x-excludes") if kind in about]


def _has_effect(about: Schema) -> bool:
    """Whether there is a value of the key that does something."""
    ignored = "x-ignored" in about and "when" not in about["x-ignored"]
    return not (ignored or "x-sample-key" in about or "x-unsupported" in about)


def _formerly(key: str, known: dict[str, Schema]) -> str | None:
    """Today's name of a key that had another one."""
    names = (now for now, about in known.items() if key in about.get("x-formerly", ()))
    return next(names, None)


def _misplaced(key: str, path: KeyPath, home: KeyPath, homes: Homes) -> Fault:
    here, there = dotted(path) or "the config", dotted(home) or "the top of the config"
    message = f"is not a key of {here}; it belongs into {there}"
    if homes.has(home, key):
        return Fault((*path, key), f"{message}, which has one already", at_key=True)
    own = (*home, key)
    return Fault((*path, key), message, suggestion=dotted(own), at_key=True, meant=own)


def _not_among(value: Any, choices: list[Any], of: Schema, path: KeyPath) -> Fault:
    replacements = of.get("x-unsupported-values", {})
    if isinstance(value, str) and value in replacements:
        instead = replacements[value]
        message = f"{shown(value)} is not supported by this version; use {instead}"
        return Fault(path, message)
    meant = closest(value, choices) if isinstance(value, str) else None
    hint = f"; did you mean {meant}?" if meant else ""
    message = f"{shown(value)} is not {listed(choices)}{hint}"
    return Fault(path, message, suggestion=meant)
