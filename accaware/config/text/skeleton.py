"""How far a text can be config data at all, found in one cheap pass.

tree-sitter recovers from every fault of a text, which takes seconds where there are thousands.
Only the first one is reported, so it need not see what comes after.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<word>[\w$.+-]+)
    |(?P<mark>[{}\[\],:])""",
    re.VERBOSE | re.DOTALL,
)
_CLOSED_BY = {"{": "}", "[": "]"}
_MARGIN = 64
"""Characters kept behind the fault, for the token that stands there to be shown."""


def sound_part(text: str, deepest: int) -> str:
    """``text`` up to its first structural fault and a little more; all of it where there is none.

    It is as lenient as may be: what it cuts off lies behind a fault for certain.
    """
    open_marks: list[str] = []
    position, before = 0, ""
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return _until(text, position + 1)
        position = token.end()
        if token.lastgroup == "skip":
            continue
        mark = token[0] if token.lastgroup == "mark" else "value"
        if not _may_follow(before, mark, open_marks) or len(open_marks) > deepest:
            return _until(text, position)
        if mark in _CLOSED_BY:
            open_marks.append(mark)
        elif mark in "}]":
            open_marks.pop()
            mark = "value"
        before = mark
    return text


def _may_follow(before: str, mark: str, open_marks: list[str]) -> bool:
    within = open_marks[-1] if open_marks else ""
    if mark in "}]":
        return bool(within) and _CLOSED_BY[within] == mark and before != ":"
    if mark == ",":
        return before == "value" and within != ""
    if mark == ":":
        return before == "value" and within == "{"
    return before != "value"


def _until(text: str, end: int) -> str:
    """Cut at the end of a line or of the margin, whichever comes first."""
    line_end = text.find("\n", end, end + _MARGIN)
    return text[: line_end if line_end >= 0 else end + _MARGIN]
