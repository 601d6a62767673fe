"""Words for messages: values in short, lists of choices, and what was probably meant."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def shown(value: Any) -> str:
    """A value as JSON on one line, at most 40 characters."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 40 else f"{text[:37]}..."


def listed(names: Iterable[Any], last: str = "or") -> str:
    """``a, b or c``."""
    words = [str(name) for name in names]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` is a misspelling of, if there is one."""
    if len(word) > 80:
        return None
    from difflib import get_close_matches  # only a fault needs it

    by_case = {name.casefold(): name for name in known}
    matches = get_close_matches(word.casefold(), by_case, n=1, cutoff=0.65)
    return by_case[matches[0]] if matches else None
