"""The tokens of a config's text, with their positions; white space and comments are left out.

JSON has few kinds of them. The others are JavaScript's, whose notation people know: of a name
without quotes or a hexadecimal number the reader can say what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<mark>[{}\[\],:]|-(?!-))
    |(?P<number>0[xXoObB]\w*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?n?)
    |(?P<word>[^\s\x00-\x23\x25-\x40\x5b-\x5e\x60\x7b-\x7f\u200b\u2060\ufeff]
        [^\s\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f\u200b\u2060\ufeff]*)
    |(?P<junk>\+\+|--|=>|.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """``kind`` is string, number, word or junk; of a mark, such as a brace, it is the mark."""

    kind: str
    text: str
    offset: int

    @property
    def end(self) -> int:
        """The offset behind its last character."""
        return self.offset + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text`` in order, each as it is asked for; offsets count characters.

    So a reader that stops at the first fault takes no time for what comes after it. Where nothing
    begins that has a name there is junk, which includes the quote of a string without its end.
    """
    # Halves of surrogate pairs, which no file holds, are question marks.
    for found in _TOKEN.finditer(text.encode("utf-8", "replace").decode()):
        kind = found.lastgroup
        assert kind is not None
        if kind != "skip":
            word = found[0]
            yield Token(word if kind == "mark" else kind, word, found.start())
