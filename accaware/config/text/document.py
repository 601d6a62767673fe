"""A config's data, and where each part of it came from: the text, an option, or Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from accaware.config.text.fault import Fault
from accaware.config.text.parse import Offsets, parse
from accaware.config.text.paths import KeyPath, dotted
from accaware.config.text.python_data import json_data
from accaware.config.text.source import BYTE_ORDER_MARK, Lines
from accaware.errors import Diagnostic


class Document:
    """Data with its origins; turns faults into diagnostics.

    Attributes:
        data: JSON data, of use only where ``complete``.
        complete: whether the text's structure could be read to its end.
        faults: of the text or the options themselves.
    """

    def __init__(self, data: Any, name: str = "", text: str = "") -> None:
        self.data = data
        self.complete = True
        self.faults: list[Fault] = []
        self._name = name
        self._lines = Lines(text)
        self._places: dict[KeyPath, Offsets] = {}
        self._unread: set[KeyPath] = set()
        self._options: dict[KeyPath, str] = {}
        self._option_faults: list[tuple[str, Fault]] = []

    @classmethod
    def of_text(cls, text: str, name: str) -> Document:
        """The data of a text, which the places in it are of; ``name`` is its file."""
        bare = text.removeprefix(BYTE_ORDER_MARK)
        parsed = parse(bare)
        document = cls(parsed.data, name, bare)
        document.complete = parsed.complete
        document.faults = parsed.faults
        if bare is not text:
            message = (
                "begins with a byte-order mark, which is skipped; save it as UTF-8 without one"
            )
            document.faults.insert(0, Fault((), message, severity="note", offset=0))
        document._places = parsed.places
        document._unread = parsed.unread
        return document

    @classmethod
    def of_mapping(cls, mapping: Mapping[str, Any]) -> Document:
        """The data of what a caller of Python has; it has no places."""
        document = cls(None)
        document.data = json_data(mapping, document.faults)
        document._unread = {fault.path for fault in document.faults}
        return document

    def claim(self, path: KeyPath, option: str) -> None:
        """From now on, what is at ``path`` and below came from ``option``."""
        self._options = {one: of for one, of in self._options.items() if not _under(one, path)}
        self._options[path] = option
        self._places = {one: at for one, at in self._places.items() if not _under(one, path)}
        self._unread = {one for one in self._unread if not _under(one, path)}
        self.faults = [fault for fault in self.faults if not _under(fault.path, path)]

    def option_fault(self, option: str, path: KeyPath, message: str) -> None:
        """The option itself can't be used."""
        self._option_faults.append((option, Fault(path, message)))

    @property
    def unread_paths(self) -> frozenset[KeyPath]:
        """The values that couldn't be read."""
        return frozenset(self._unread)

    def diagnostics(self, faults: Iterable[Fault]) -> tuple[Diagnostic, ...]:
        """``faults`` and the document's own, in the text's order, each once; options last."""
        placed = [self._placed(fault) for fault in (*self.faults, *faults)]
        placed += [_of_option(option, fault) for option, fault in self._option_faults]
        order = sorted(
            dict.fromkeys(placed),
            key=lambda one: (one.line is None, one.line or 0, one.column or 0),
        )
        return tuple(order)

    def _placed(self, fault: Fault) -> Diagnostic:
        option = self._option(fault.path)
        if option is not None:
            return _of_option(option, fault)
        offset = fault.offset if fault.offset is not None else self._offset(fault)
        line, column = (None, None) if offset is None else self._lines.place(offset)
        return Diagnostic(
            message=fault.message,
            path=dotted(fault.path),
            file=self._name,
            line=line,
            column=column,
            severity=fault.severity,
            suggestion=fault.suggestion,
            source=None if line is None else self._lines.line(line),
        )

    def _option(self, path: KeyPath) -> str | None:
        """The option that set ``path`` or something around it."""
        ends = range(len(path), 0, -1)
        return next((self._options[path[:e]] for e in ends if path[:e] in self._options), None)

    def _offset(self, fault: Fault) -> int | None:
        """The path's own place, or that of the innermost thing around it that the text has."""
        for end in range(len(fault.path), -1, -1):
            place = self._places.get(fault.path[:end])
            if place is not None:
                at_key = fault.at_key or end < len(fault.path)
                return place.key if at_key else place.value
        return None


def _under(path: KeyPath, ancestor: KeyPath) -> bool:
    return path[: len(ancestor)] == ancestor


def _of_option(option: str, fault: Fault) -> Diagnostic:
    return Diagnostic(
        message=fault.message,
        path=dotted(fault.path),
        file=f"--set {option}",
        severity=fault.severity,
        suggestion=fault.suggestion,
    )
