"""The JSON Schema files of the package, by name.

Each key has a description and, where none follows from its type, an example: the documentation's
page of all keys is made of them. Beyond JSON Schema's own keywords, which `jsonschema` checks, they
carry these annotations:

x-ignored               {"why": ..., "when": value}: accepted without effect, with a warning;
                        only for the value ``when`` where there is one
x-unsupported           {"what": ..., "instead": ...}: a key of NNCF that this version refuses
x-unsupported-values    {value: what to use instead}, the same for an enum's values
x-used-with             {sibling: values}: without effect, with a warning, for other values of it;
                        of a list of these one has to hold; a required key is required where it
                        has an effect
x-formerly              older names of a key, which a message names it by
x-alias-of              another name of that key, with a note
x-excludes              not together with that key
x-fold-case             an enum's strings may be written in any case, with a note
x-scopes                holds scopes, as a value or as keys
x-expected              what a pattern asks for, in words; its examples are suggested
x-sample-key            of NNCF's example scripts; read by none but them
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

_FOLDER = Path(__file__).parent


@cache
def schema(name: str) -> Schema:
    """The schema ``name`` (``file`` or ``file#definition``), with all its references inlined."""
    file, _, definition = name.partition("#")
    found: Schema = _inlined(written(file, definition))
    return found


def written(file: str, definition: str = "") -> Schema:
    """The schema as the file has it, with its references."""
    whole = _read(file)
    found: Schema = whole["$defs"][definition] if definition else whole
    return found


def file_names() -> list[str]:
    """The names of the schema files, in order."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def definitions(file: str) -> frozenset[str]:
    """The names of the definitions in a schema file."""
    return frozenset(_read(file).get("$defs", {}))


def properties(of: Schema) -> dict[str, Schema]:
    """The schemas of an object's keys, by key."""
    found: dict[str, Schema] = of.get("properties", {})
    return found


@cache
def _read(file: str) -> Schema:
    text = (_FOLDER / f"{file}.json").read_text(encoding="utf-8")
    whole: Schema = json.loads(text)
    return whole


def _inlined(part: Any) -> Any:
    if isinstance(part, list):
        return [_inlined(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    copy = {key: _inlined(value) for key, value in part.items() if key not in ("$ref", "$defs")}
    if "$ref" in part:
        file, _, pointer = part["$ref"].partition("#/$defs/")
        stem = file.removesuffix(".json")
        copy = {**schema(f"{stem}#{pointer}" if pointer else stem), **copy}
    return copy
