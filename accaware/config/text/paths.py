"""A path to a value inside a config, and how it is written for people."""

from __future__ import annotations

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """``("compression", 0, "params")`` as ``compression[0].params``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def prefixes(path: KeyPath) -> list[KeyPath]:
    """``path`` and all that lies around it."""
    return [path[:end] for end in range(len(path) + 1)]
