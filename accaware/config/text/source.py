"""A config file's bytes as text, or the one reason why they can't be."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from pathlib import Path

LARGEST = 1024 * 1024
"""Bytes. Lists of scopes may be long; whatever is larger was given by mistake."""

BYTE_ORDER_MARK = "\ufeff"

_LINE_END = re.compile(r"\r\n|\n|\r")


class UnreadableError(Exception):
    """The file can't be read as text; the message says why, for the user.

    ``place`` is the line and the column where the bytes stop making sense, where there is one.
    """

    def __init__(self, message: str, place: tuple[int, int] | None = None) -> None:
        self.place = place
        super().__init__(message)


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        UnreadableError: it can't be read as text.
    """
    try:
        if path.is_dir():
            raise UnreadableError("is a folder; a config file is needed")
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UnreadableError("there is no such file") from None
    except ValueError:  # a NUL character in the name
        raise UnreadableError("is not a possible file name") from None
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror or error}") from None
    return decode(raw)


def decode(raw: bytes) -> str:
    """UTF-8 to text, with the byte-order mark that some editors write.

    Raises:
        UnreadableError: for other encodings and for too many bytes.
    """
    if len(raw) > LARGEST:
        raise UnreadableError(
            f"is larger than {LARGEST // 1024**2} MiB, the most that a config may be; a large "
            "table belongs into a file that the plugin reads"
        )
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableError("is UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8").removeprefix(BYTE_ORDER_MARK)
        raise UnreadableError(
            f"is not UTF-8 (byte 0x{raw[error.start]:02x} can't be read); save it as UTF-8",
            Lines(before).place(len(before)),
        ) from None


class Lines:
    r"""Where the lines of a text begin. A line ends at \n, \r\n or \r."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(end.end() for end in _LINE_END.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end."""
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self._text)
        return self._text[start:end].rstrip("\r\n")
