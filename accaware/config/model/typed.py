"""JSON data, checked already, to dataclasses that mirror it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def typed(of: type[T], data: Mapping[str, Any], **built: Any) -> T:
    """An ``of`` with the entries of ``data`` that it has fields for, in the fields' own types.

    Args:
        built: fields that have their values already.

    JSON has one kind of number: 1e4 may be written for an integer and 1 for a float. Where a
    field is a tuple, a single entry may stand without its list.
    """
    hints = _hints(cast("Hashable", of))
    given = {key: _value(hints[key], data[key]) for key in hints if data.get(key) is not None}
    return of(**{**given, **built})


@cache
def _hints(of: Any) -> dict[str, Any]:
    hints = get_type_hints(of)
    return {one.name: hints[one.name] for one in fields(of)}


def _value(hint: Any, value: Any) -> Any:
    choices = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        return _value(choices[0], value)
    if is_dataclass(hint):
        return typed(hint, value) if isinstance(hint, type) else value
    if get_origin(hint) is tuple:
        entries = value if isinstance(value, list) else [value]
        return tuple(_value(choices[0], entry) for entry in entries)
    if get_origin(hint) is Mapping and choices[1] is not Any:
        return {key: _value(choices[1], entry) for key, entry in value.items()}
    if hint in (int, float) and not isinstance(value, bool):
        return hint(value)
    return value
