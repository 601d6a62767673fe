"""Text to data, with the place of every key and value, and every fault of the text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from accaware.config.text.fault import Fault
from accaware.config.text.paths import KeyPath
from accaware.config.text.source import Lines
from accaware.config.text.tokenizer import Token, tokens

DEEPEST = 64
"""Levels of nesting. Configs need about ten."""

_MOST_FAULTS = 1000
"""Nobody reads more, and a file has room for hundreds of thousands."""

_WORD = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_PLAIN = re.compile(r'"[^"\\\x00-\x1f]*"')
_AFTER_STRING = re.compile(r"[\s,:\]}/\"]|\Z")
"""Where anything else comes after a string that isn't expected, its quotes are those of others."""

_LITERALS = {"true": True, "false": False, "null": None}
_OTHER_SPELLINGS = {"True": "true", "False": "false", "None": "null", "undefined": "null"}


@dataclass(frozen=True)
class Offsets:
    """Character offsets of a value and of its key (of itself, for a list's entries)."""

    key: int
    value: int


@dataclass
class Parsed:
    """``complete`` is False where the text's structure broke; ``data`` is then of no use.

    A value that can't be read is None in ``data``, a fault tells of it, and its path is among
    ``unread``, so that nobody complains of that None.
    """

    data: Any = None
    places: dict[KeyPath, Offsets] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unread: set[KeyPath] = field(default_factory=set)
    complete: bool = False


def parse(text: str) -> Parsed:
    """The first fault of the structure ends the reading; all others are reported."""
    parser = _Parser(text)
    try:
        parser.whole()
    except _BrokenError:
        return parser.parsed
    parser.parsed.complete = True
    return parser.parsed


class _BrokenError(Exception):
    """The structure is broken here; what follows can't be told apart."""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = Lines(text)
        self._tokens = tokens(text)
        self._ahead = next(self._tokens, None)
        self.parsed = Parsed()

    def whole(self) -> None:
        if self._ahead is None:
            self._fault((), 0, "the file is empty; a config is an object in braces { }")
            raise _BrokenError
        self.parsed.data = self._value((), None)
        if self._ahead is not None:
            self._expected("the end of the text", ())

    def _value(self, path: KeyPath, key: int | None) -> Any:
        token = self._ahead
        if token is None:
            self._expected("a value", path)
        here = token.offset
        self.parsed.places[path] = Offsets(here if key is None else key, here)
        if token.kind in "{[" and len(path) >= DEEPEST:
            self._fault((), here, f"is nested deeper than {DEEPEST} levels")
            raise _BrokenError
        if token.kind == "{":
            return self._object(path)
        if token.kind == "[":
            return self._list(path)
        if token.kind == "string":
            self._take()
            return self._string(token, path)
        if token.kind == "number":
            self._take()
            return self._number(token.text, here, path)
        if token.kind == "-":
            return self._negative(path)
        if token.text in _LITERALS:
            self._take()
            return _LITERALS[token.text]
        if not _WORD.fullmatch(token.text):
            self._expected("a value", path)
        self._take()
        self._unread(path, here, _why_no_value(token.text))
        return None

    def _object(self, path: KeyPath) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        opened = self._take()
        while not self._skip("}"):
            token = self._ahead
            if token is None or not (token.kind == "string" or _WORD.fullmatch(token.text)):
                self._expected('a key in double quotes or "}"', path, opened)
            key = self._key(token, path)
            if not self._skip(":"):
                self._expected('":" after the key', path, opened)
            place = (*path, key)
            if key in entries:
                first, _ = self._lines.place(self.parsed.places[place].key)
                again = f"is given twice in the same object; the first is on line {first}"
                self._fault(place, token.offset, again)
            entries[key] = self._value(place, token.offset)
            if not self._skip(",") and not self._at("}"):
                self._expected('"," or "}" after the value', place, opened)
        return entries

    def _key(self, token: Token, path: KeyPath) -> str:
        """A key, put right where it isn't in double quotes."""
        self._take()
        bare = token.text if token.kind != "string" else token.text[1:-1]
        if not token.text.startswith('"'):
            self._fault((*path, bare), token.offset, f'write the key {token.text} as "{bare}"')
            return bare
        key = self._string(token, (*path, bare))
        return bare if key is None else key

    def _list(self, path: KeyPath) -> list[Any]:
        entries: list[Any] = []
        opened = self._take()
        while not self._skip("]"):
            place = (*path, len(entries))
            entries.append(self._value(place, None))
            if not self._skip(",") and not self._at("]"):
                self._expected('"," or "]" after the value', place, opened)
        return entries

    def _string(self, token: Token, path: KeyPath) -> str | None:
        raw = token.text
        if _PLAIN.fullmatch(raw):  # nearly all of them; there is nothing to decode
            return raw[1:-1]
        if raw.startswith("'"):
            self._unread(path, token.offset, f"{_short(raw)} needs double quotes")
            return None
        try:
            text = str(json.loads(raw))
        except ValueError:
            if any(ord(letter) < 32 for letter in raw):
                why = "holds a line break or another control character; write \\n, \\t or \\u00XX"
            else:
                why = 'holds an escape that JSON doesn\'t have; write a backslash as "\\\\"'
            self._unread(path, token.offset, f"the string {_short(raw)} {why}")
            return None
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            half = f"the string {_short(raw)} holds half of a surrogate pair"
            self._unread(path, token.offset, half)
            return None
        return text

    def _negative(self, path: KeyPath) -> float | int | None:
        minus = self._take()
        token = self._ahead
        word = token is not None and _WORD.fullmatch(token.text)
        if token is None or token.offset != minus.end or not (token.kind == "number" or word):
            self._expected('a number right after "-"', path)
        self._take()
        if token.kind == "number":
            return self._number(f"-{token.text}", minus.offset, path)
        self._unread(path, minus.offset, _why_no_value(f"-{token.text}"))
        return None

    def _number(self, raw: str, offset: int, path: KeyPath) -> float | int | None:
        if len(raw) > 400:
            self._unread(path, offset, f"{_short(raw)} has too many digits")
            return None
        try:
            number: float | int = json.loads(raw)
            finite = math.isfinite(number)
        except OverflowError:  # an integer beyond what a float can hold
            finite = False
        except ValueError:
            self._unread(path, offset, f"{_short(raw)} is not how JSON writes a number")
            return None
        if not finite:
            self._unread(path, offset, f"{_short(raw)} is too large for a number")
            return None
        return number

    def _take(self) -> Token:
        token = self._ahead
        assert token is not None
        self._ahead = next(self._tokens, None)
        return token

    def _at(self, kind: str) -> bool:
        return self._ahead is not None and self._ahead.kind == kind

    def _skip(self, kind: str) -> bool:
        found = self._at(kind)
        if found:
            self._take()
        return found

    def _fault(self, path: KeyPath, offset: int, message: str) -> None:
        faults = self.parsed.faults
        faults.append(Fault(path, message, offset=offset))
        if len(faults) == _MOST_FAULTS:
            rest = f"this is mistake number {_MOST_FAULTS}; what follows is not looked at"
            faults.append(Fault((), rest, offset=offset))
            raise _BrokenError

    def _unread(self, path: KeyPath, offset: int, message: str) -> None:
        self._fault(path, offset, message)
        self.parsed.unread.add(path)

    def _expected(self, what: str, path: KeyPath, opened: Token | None = None) -> NoReturn:
        token = self._ahead
        if token is None:
            last = len(self._text.rstrip())
            since = ""
            if opened is not None:
                line, _ = self._lines.place(opened.offset)
                since = f'; the "{opened.kind}" of line {line} is not closed'
            self._fault(path, last, f"expected {what}, but the text ends{since}")
        elif self._text.startswith("/*", token.offset):
            self._fault(path, token.offset, "this comment is never closed with */")
        elif token.text.startswith('"'):
            closed = token.kind == "string" and _AFTER_STRING.match(self._text, token.end)
            found = f"found {_short(token.text)}" if closed else "found a string without its end"
            self._fault(path, token.offset, f"expected {what}, {found}")
        else:
            self._fault(path, token.offset, f"expected {what}, found {_short(token.text)}")
        raise _BrokenError


def _why_no_value(word: str) -> str:
    if word.lstrip("-") in ("NaN", "Infinity"):
        return f"{word} is not a number that a config can hold"
    if word in _OTHER_SPELLINGS:
        return f"{word} is written {_OTHER_SPELLINGS[word]} in JSON"
    return f"{_short(word)} is not a value; text needs double quotes"


def _short(raw: str) -> str:
    """Raw text for a message: one line, printable, at most 40 characters."""
    line = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in raw[:41]
    )
    return line if len(line) <= 40 else f"{line[:37]}..."
