"""Which layers a pattern of ``ignored_scopes`` or ``target_scopes`` means."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence

from accaware.errors import UsageError

_REGEX = "{re}"


class Scopes:
    """Chooses layers by name.

    A pattern is a module's path, which means that module and all within it; a glob such as
    ``layer?.*.conv1``; or a regular expression behind ``{re}`` that must match the whole path.

    Args:
        target: only these layers; None for all.
        ignored: never these.
        names: every module path of the model, to check that each pattern means something.

    Raises:
        UsageError: a pattern matches no module, or isn't a regular expression.
    """

    def __init__(
        self, target: Sequence[str] | None, ignored: Sequence[str], names: Iterable[str]
    ) -> None:
        known = [name for name in names if name]
        for key, patterns in (("target_scopes", target or ()), ("ignored_scopes", ignored)):
            for pattern in patterns:
                _check(key, pattern, known)
        self._target = target
        self._ignored = ignored

    def why_left_out(self, name: str) -> str | None:
        """The reason why a layer isn't chosen, None if it is."""
        if any(matches(pattern, name) for pattern in self._ignored):
            return "it is in ignored_scopes"
        if self._target is not None and not any(matches(p, name) for p in self._target):
            return "it is not in target_scopes"
        return None


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` means the module at path ``name``."""
    if pattern.startswith(_REGEX):
        return re.fullmatch(pattern[len(_REGEX) :], name) is not None
    return name == pattern or name.startswith(f"{pattern}.") or fnmatch.fnmatchcase(name, pattern)


def _check(key: str, pattern: str, names: Sequence[str]) -> None:
    try:
        if any(matches(pattern, name) for name in names):
            return
    except re.error as error:
        raise UsageError(f"{key}: {pattern!r} is not a regular expression: {error}") from error
    close = difflib.get_close_matches(pattern, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"{key}: {pattern!r} matches no module of the model{hint}")
