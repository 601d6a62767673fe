"""What is wrong with a config: as lines that editors can jump to, as JSON, as annotations."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable

from accaware.errors import Diagnostic

_WIDEST = 100
"""Characters of a line of context; more of it would wrap."""


def diagnostic_line(diagnostic: Diagnostic) -> str:
    """``file:line:column: path: message``, with the severity before the path if it's no error."""
    place = ":".join(
        str(part) for part in (diagnostic.file, diagnostic.line, diagnostic.column) if part
    )
    severity = "" if diagnostic.severity == "error" else diagnostic.severity
    parts = (place, severity, diagnostic.path, diagnostic.message)
    return _printable(": ".join(part for part in parts if part))


def diagnostics_text(diagnostics: Iterable[Diagnostic], *, context: bool = False) -> str:
    """A line each, with ``context`` followed by the config's own line and a caret below it."""
    return "\n".join(
        diagnostic_line(one) + (_context(one) if context else "") for one in diagnostics
    )


def diagnostics_json(diagnostics: Iterable[Diagnostic]) -> str:
    """A list of objects; keys without a value are null."""
    keys = ("file", "line", "column", "path", "message", "severity", "suggestion")
    return json.dumps([{key: getattr(one, key) for key in keys} for one in diagnostics], indent=2)


def github_annotation(diagnostic: Diagnostic) -> str:
    """A workflow command of GitHub's: ``::error file=…,line=…,col=…::path: message``."""
    kind = {"error": "error", "warning": "warning"}.get(diagnostic.severity, "notice")
    places = {"file": diagnostic.file, "line": diagnostic.line, "col": diagnostic.column}
    where = ",".join(f"{key}={_property(str(value))}" for key, value in places.items() if value)
    message = ": ".join(part for part in (diagnostic.path, diagnostic.message) if part)
    return f"::{kind} {where}::{_data(message)}" if where else f"::{kind}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _context(diagnostic: Diagnostic) -> str:
    """The line that the fault is in and a caret below its column, with a line break before."""
    if diagnostic.source is None or diagnostic.column is None:
        return ""
    at = diagnostic.column - 1
    first = max(0, at - _WIDEST // 2)
    shown = "".join(
        letter if letter.isprintable() else " "
        for letter in diagnostic.source[first : first + _WIDEST]
    )
    before = shown[: at - first]
    if first == 0:
        indent = len(before) - len(before.lstrip())
        shown, before = shown[indent:], before[indent:]
    width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in before)
    return f"\n    {shown.rstrip()}\n    {' ' * width}^"


def _printable(text: str) -> str:
    """One line for certain: what keys and file names may hold is escaped."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
