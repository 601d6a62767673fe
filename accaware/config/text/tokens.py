"""The tokens of a config's text, with their positions; comments are left out.

JSON with comments and trailing commas, in parentheses, is a JavaScript expression, so
tree-sitter's JavaScript grammar finds the tokens. Its tree is not used beyond its leaves: where a
text is broken the tree is a guess at what was meant, while its leaves are what was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Parser
from tree_sitter_javascript import language

JUNK = "junk"
_WHOLE = {"string", "comment", "template_string", "regex"}
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Token:
    """``kind`` is the grammar's name, or JUNK for characters that it has no name for."""

    kind: str
    text: str
    offset: int

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


def tokens(text: str) -> list[Token]:
    """All tokens of ``text`` in order; offsets count characters."""
    # One character stays one character, so that offsets hold even for half surrogates.
    source = text.encode("utf-8", "replace")
    found: list[Token] = []
    byte, offset = 0, 0
    for kind, start, end in _leaves(source):
        gap, word = source[byte:start].decode(), source[start:end].decode()
        found += _junk(gap, offset)
        offset += len(gap)
        if kind != "comment":
            found.append(Token(kind, word, offset))
        byte, offset = end, offset + len(word)
    return found + _junk(source[byte:].decode(), offset)


def _junk(gap: str, offset: int) -> list[Token]:
    """Between tokens there is JSON's white space; JavaScript's further kinds don't count."""
    rest = gap.lstrip(_SPACE)
    return [Token(JUNK, rest.strip(_SPACE), offset + len(gap) - len(rest))] if rest else []


def _leaves(source: bytes) -> Iterator[tuple[str, int, int]]:
    """Kind, first and last byte of each leaf, but for the parentheses put around ``source``."""
    cursor = _parser().parse(b"(" + source + b"\n)").walk()
    while True:
        node = cursor.node
        assert node is not None
        kind = node.type
        leaf = kind in _WHOLE or node.child_count == 0
        if leaf:
            start, end = node.start_byte - 1, min(node.end_byte - 1, len(source))
            if 0 <= start < end:
                yield JUNK if node.is_error else kind, start, end
        if not leaf and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


@cache
def _parser() -> Parser:
    return Parser(Language(language()))
