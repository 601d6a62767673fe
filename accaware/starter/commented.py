"""A config's data as text, with a comment on each key that has something to say."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accaware.config.text.paths import KeyPath

_WIDTH = 100
_INDENT = "    "

Comment = Callable[[KeyPath, Any], str | None]
"""What is said of a value; None where nothing is to be."""


@dataclass(frozen=True)
class Blank:
    """A value that its user has to know; the line is a comment until then."""

    example: Any


def commented(data: Mapping[str, Any], comment: Comment, *, head: str) -> str:
    """The text of a file.

    Args:
        data: JSON data, with a Blank where a value is to be filled in.
        head: what the file says first; a line each.
    """
    lines = ["{", *(f"{_INDENT}// {line}" for line in head.splitlines())]
    lines += _entries(data, (), comment, _INDENT)
    return "\n".join([*lines, "}"]) + "\n"


def _entries(data: Mapping[str, Any], path: KeyPath, comment: Comment, indent: str) -> list[str]:
    lines: list[str] = []
    filled = [key for key, value in data.items() if not isinstance(value, Blank)]
    for key, value in data.items():
        blank = isinstance(value, Blank)
        comma = "," if blank or key != filled[-1] else ""
        lines += _entry((*path, key), json.dumps(key) + ": ", value, comma, comment, indent)
    return lines


def _entry(
    path: KeyPath, name: str, value: Any, comma: str, comment: Comment, indent: str
) -> list[str]:
    said = comment(path, value)
    if isinstance(value, Blank):
        start = f"{indent}// {name}{json.dumps(value.example)}{comma}"
        return [start if said is None else f"{start} // {said}"]
    above = textwrap.wrap(
        said or "", _WIDTH, initial_indent=f"{indent}// ", subsequent_indent=f"{indent}// "
    )
    if not _is_open(value):
        line = f"{indent}{name}{json.dumps(value)}{comma}"
        beside = f"{line} // {said}"
        return [beside] if said is not None and len(beside) <= _WIDTH else [*above, line]
    inner = indent + _INDENT
    if isinstance(value, Mapping):
        lines = _entries(value, path, comment, inner)
        return [*above, f"{indent}{name}{{", *lines, f"{indent}}}{comma}"]
    lines = []
    for index, entry in enumerate(value):
        end = "," if index + 1 < len(value) else ""
        lines += _entry((*path, index), "", entry, end, comment, inner)
    return [*above, f"{indent}{name}[", *lines, f"{indent}]{comma}"]


def _is_open(value: Any) -> bool:
    """Whether a line each is for what is in it: for objects, and for lists of such."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(_is_open(entry) for entry in value)
