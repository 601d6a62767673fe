"""The package's schemas as one, for editors and for whoever checks configs without accaware."""

from __future__ import annotations

from typing import Any

from accaware.config.model.algorithms import SUPPORTED
from accaware.config.model.presets import PRESETS
from accaware.config.schema.catalog import (
    Schema,
    definitions,
    file_names,
    properties,
    schema,
    written,
)

_MODES = ("adaptive_compression_level", "early_exit")


def bundled() -> Schema:
    """A draft 2020-12 schema of a whole config, without references to elsewhere.

    Sub-schemas are chosen with if/then by algorithm, mode and the optimizer's types. It says
    nothing of rules across keys.
    """
    parts = {
        f"{file}.{name}" if name else file: _local(written(file, name), file)
        for file in file_names()
        for name in ("", *sorted(definitions(file)))
    }
    root = parts.pop("config")
    parts.pop("common")
    root["required"] = ["compression", "accuracy_aware_training"]
    root["properties"]["compression"] |= {
        "if": {"type": "array"},
        "then": {"items": _reference("algorithm")},
        "else": _reference("algorithm"),
    }
    del root["properties"]["compression"]["items"]
    parts["algorithm"] = _algorithm()
    parts["accuracy_aware_training"]["allOf"] = [
        _choice("mode", mode, {"properties": {"params": _reference(mode)}}) for mode in _MODES
    ]
    for mode in _MODES:
        own = _required_by_others(mode)
        parts[mode]["required"] = [key for key in parts[mode]["required"] if key not in own]
        parts["accuracy_aware_training"]["allOf"] += [
            _required(mode, key, other, values, preset)
            for key, (other, values) in own.items()
            for preset in (None, *PRESETS)
        ]
    parts["optimizer"]["allOf"] = _optimizer_choices()
    return {**root, "$defs": dict(sorted(parts.items()))}


def _algorithm() -> Schema:
    return {
        "title": "One algorithm",
        "type": "object",
        "properties": {
            "algorithm": {"description": "How to compress", "enum": list(SUPPORTED)},
        },
        "required": ["algorithm"],
        "allOf": [_choice("algorithm", name, _reference(name)) for name in SUPPORTED],
    }


def _required_by_others(mode: str) -> dict[str, tuple[str, list[Any]]]:
    """Keys that are required for some values of another one, with these."""
    known = properties(schema(mode))
    return {
        key: next(iter(known[key]["x-used-with"].items()))
        for key in schema(mode)["required"]
        if "x-used-with" in known[key]
    }


def _required(mode: str, key: str, other: str, values: list[Any], preset: str | None) -> Schema:
    """``key`` is required where ``other`` has one of the ``values``, given or not."""
    keys = {} if preset is None else PRESETS[preset].params.get(mode, {})
    params: Schema = {"properties": {other: {"enum": values}}}
    if keys.get(other, properties(schema(mode))[other]["default"]) not in values:
        params["required"] = [other]
    condition: Schema = {"properties": {"mode": {"const": mode}, "params": params}}
    condition["required"] = ["mode", "params"]
    if preset is None:
        condition["not"] = {"required": ["preset"]}
    else:
        condition["properties"]["preset"] = {"const": preset}
        condition["required"].append("preset")
    return {"if": condition, "then": {"properties": {"params": {"required": [key]}}}}


def _optimizer_choices() -> list[Schema]:
    known = properties(schema("optimizer"))
    parts = {"type": "optimizer_params", "schedule_type": "schedule_params"}
    return [
        _choice(
            key,
            name,
            {"properties": {part: _reference(f"optimizer.{name}")}},
            fold_case=bool(known[key].get("x-fold-case")),
            # Without a type, the default's parameters are the ones to check.
            required=known[key].get("default") != name,
        )
        for key, part in parts.items()
        for name in known[key]["enum"]
    ]


def _choice(
    key: str, name: str, then: Schema, *, fold_case: bool = False, required: bool = True
) -> Schema:
    value = {"pattern": _any_case([name])} if fold_case else {"const": name}
    condition: Schema = {"properties": {key: value}}
    if required:
        condition["required"] = [key]
    return {"if": condition, "then": then}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _local(part: Any, file: str) -> Any:
    """A copy that refers to the bundle's own definitions, with our annotations as constraints."""
    if isinstance(part, list):
        return [_local(entry, file) for entry in part]
    if not isinstance(part, dict):
        return part
    copy = {
        key: _local(value, file)
        for key, value in part.items()
        if key not in ("$defs", "$ref", "$schema") or (key == "$schema" and file == "config")
    }
    if isinstance(part.get("$ref"), str):
        target, _, pointer = part["$ref"].partition(".json")
        name = pointer.removeprefix("#/$defs/")
        copy["$ref"] = f"#/$defs/{target}.{name}" if name else f"#/$defs/{target}"
    if "x-unsupported" in part:
        copy |= {"const": {}, "deprecated": True}
    if "x-ignored" in part or "x-sample-key" in part:
        copy["deprecated"] = True
    if "x-fold-case" in part:
        choices = copy.pop("enum")
        copy["anyOf"] = [{"enum": choices}, {"pattern": _any_case(choices)}]
    return copy


def _any_case(names: list[str]) -> str:
    """A pattern for all spellings of the names; JSON Schema's patterns have no flag for that."""
    spellings = (
        "".join(
            f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter for letter in name
        )
        for name in names
    )
    return f"^({'|'.join(spellings)})$"
