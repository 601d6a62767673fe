"""What is wrong with a config and where in its data, before it has a line and a column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accaware.config.text.paths import KeyPath


@dataclass(frozen=True)
class Fault:
    """One thing to tell the user.

    ``severity`` is error, warning (something has no effect) or note (something has effect, and
    could be written better). ``at_key`` points at the key rather than at its value. ``offset`` is
    a character of the text, for faults of the text itself; all others are found by their path.
    ``meant`` is the path of the key that was probably meant: of its value nothing is known, and
    nothing else is said.
    """

    path: KeyPath
    message: str
    severity: str = "error"
    suggestion: str | None = None
    at_key: bool = False
    offset: int | None = None
    meant: KeyPath | None = None


def warning(path: KeyPath, message: str) -> Fault:
    """A fault of a key that has no effect."""
    return Fault(path, message, severity="warning", at_key=True)


def note(path: KeyPath, message: str, suggestion: str, *, at_key: bool = True) -> Fault:
    """A fault of a key or a value that has effect, and could be written as ``suggestion``."""
    return Fault(path, message, severity="note", suggestion=suggestion, at_key=at_key)


def has_errors(faults: Iterable[Fault]) -> bool:
    """Whether any of these keeps a config from being used."""
    return any(fault.severity == "error" for fault in faults)
