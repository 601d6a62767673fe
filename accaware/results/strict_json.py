"""Anything of ours as JSON that every parser reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from accaware.search.result import StopReason


def jsonable(value: Any) -> Any:
    """``value`` made of dicts, lists, strings and numbers.

    JSON has no NaN and no infinities, and most parsers refuse Python's spelling of them: they
    become None.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, StopReason):
        # Its value is a sentence for people, free to change; its name is for programs.
        return value.name.lower()
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def line(value: Any) -> str:
    """``value`` as one line of JSON."""
    return json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False)


def document(value: Any) -> str:
    """``value`` as JSON to be read by people too, with a newline at the end."""
    return json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False, indent=2) + "\n"
