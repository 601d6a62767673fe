"""Words of messages that several rooms say: an error in one line, and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def first_line(error: BaseException, empty: str | None = None) -> str:
    """The first line of what an error says.

    Args:
        empty: for an error that says nothing; its type's name where None.
    """
    line = next(iter(str(error).splitlines()), "")
    return line or (type(error).__name__ if empty is None else empty)


def did_you_mean(
    wanted: str, offered: Iterable[str], *, most: int = 1, quoted: Callable[[str], str] = str
) -> str:
    """The end of a message about an unknown name; empty where nothing offered is like it.

    Args:
        most: how many of the offered names may be suggested.
        quoted: how a name is written.
    """
    import difflib  # only a fault needs it

    close = difflib.get_close_matches(wanted, list(offered), n=most)
    return f"; did you mean {' or '.join(map(quoted, close))}?" if close else ""
