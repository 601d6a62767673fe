"""`--set KEY=VALUE`: one value of the config replaced from the command line."""

from __future__ import annotations

import re
from typing import Any

from accaware.config.text.document import Document
from accaware.config.text.parse import parse
from accaware.config.text.paths import KeyPath, dotted

_STEP = re.compile(r"(?:^|\.)(?P<key>[^.\[\]=]+)|\[(?P<index>\d{1,4})\]")
_MEANT_AS_JSON = re.compile(r"""[{\["]|-?(NaN|Infinity|\d+(\.\d*)?([eE][+-]?\d+)?)$""")


def apply_override(document: Document, option: str) -> None:
    """Set the value in ``document``, or add a fault to it that points at the option."""
    key, separator, raw = option.partition("=")
    path = _path(key.strip())
    if not separator or path is None:
        document.option_fault(
            option, (), "is not KEY=VALUE with a path as key, such as compression[0].params.power=2"
        )
        return
    value, faults = _value(raw)
    if faults:
        for message in faults:
            document.option_fault(option, path, message)
        return
    _put(document, option, path, value)


def _path(key: str) -> KeyPath | None:
    steps: list[str | int] = []
    position = 0
    while position < len(key):
        step = _STEP.match(key, position)
        if step is None:
            return None
        steps.append(step["key"] if step["index"] is None else int(step["index"]))
        position = step.end()
    return tuple(steps) if steps and isinstance(steps[0], str) else None


def _value(raw: str) -> tuple[Any, list[str]]:
    """JSON, or else a bare string; what was meant as JSON and isn't gives its faults."""
    parsed = parse(raw)
    if parsed.complete and not parsed.faults:
        return parsed.data, []
    if _MEANT_AS_JSON.match(raw.strip()):
        return None, [fault.message for fault in parsed.faults]
    return raw, []


def _put(document: Document, option: str, path: KeyPath, value: Any) -> None:
    """Walk to the parent, making objects where there is nothing yet, and set the value."""
    path = _settled(document.data, path)
    parent = document.data
    for depth, step in enumerate(path[:-1]):
        here = path[: depth + 1]
        if isinstance(step, str) and isinstance(parent, dict) and step not in parent:
            parent[step] = {}
            document.claim(here, option)
        found = _step(parent, step)
        if found is None:
            document.option_fault(option, path, _no_way(parent, here))
            return
        parent = found[0]
    last = path[-1]
    as_key = isinstance(parent, dict) and isinstance(last, str)
    as_index = isinstance(parent, list) and isinstance(last, int) and last < len(parent)
    if not (as_key or as_index):
        document.option_fault(option, path, _no_way(parent, path))
        return
    parent[last] = value
    document.claim(path, option)


def _settled(data: Any, path: KeyPath) -> KeyPath:
    """compression[0].x is compression.x where there is one object, and the other way round."""
    compression = data.get("compression") if isinstance(data, dict) else None
    if path[0] != "compression" or len(path) < 2:
        return path
    if isinstance(compression, dict) and path[1] == 0 and len(path) > 2:
        return (path[0], *path[2:])
    if isinstance(compression, list) and len(compression) == 1 and isinstance(path[1], str):
        return (path[0], 0, *path[1:])
    return path


def _step(parent: Any, step: str | int) -> tuple[Any] | None:
    if isinstance(parent, dict) and isinstance(step, str):
        return (parent[step],)
    if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        return (parent[step],)
    return None


def _no_way(parent: Any, here: KeyPath) -> str:
    name = dotted(here[:-1]) or "the config"
    if isinstance(parent, list):
        entries = len(parent)
        what = f"a list of {entries}; [0] is its first entry" if entries else "an empty list"
        return f"leads nowhere: {name} is {what}"
    if isinstance(parent, dict):
        return f"leads nowhere: {name} is an object, it has no [{here[-1]}]"
    return f"leads nowhere: {name} is a single value"
