"""What the shell's tab key completes: configs, runs, plugins and a few words.

Nothing slow is imported here: somebody waits between two keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from accaware.rundir.file_names import holds_run

_DEEPEST = 3
"""Folders below the one that is typed: a folder alone would be completed with a space behind it."""

_MOST_ENTRIES = 2000
"""Files that are looked at: a folder may be somebody's whole home."""

_MOST = 200
"""Names that are offered."""

Wanted = Callable[["os.DirEntry[str]"], bool]


def configs(incomplete: str) -> list[str]:
    """JSON files, but for those that runs have written."""
    return _completed(incomplete, lambda entry: _is_file(entry, ".json"))


def runs(incomplete: str) -> list[str]:
    """Directories that hold a run."""
    return _completed(incomplete, lambda entry: entry.is_dir() and holds_run(entry.path))


def plugins(incomplete: str) -> list[str]:
    """Python files."""
    return _completed(incomplete, lambda entry: _is_file(entry, ".py"))


def words(*offered: str) -> Callable[[str], list[str]]:
    """Some words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in offered if word.startswith(incomplete)]

    return complete


def _completed(incomplete: str, wanted: Wanted) -> list[str]:
    head, tail = os.path.split(incomplete)
    if head and not head.endswith("/"):
        head += "/"
    left = iter(range(_MOST_ENTRIES))
    return list(islice(_below(head, tail, wanted, _DEEPEST, left), _MOST))


def _below(
    folder: str, start: str, wanted: Wanted, depth: int, left: Iterator[int]
) -> Iterator[str]:
    """What is wanted in a folder, and then in the folders within, as it is typed."""
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError), os.scandir(os.path.expanduser(folder) or ".") as found:
        # One number is taken from what is left for each entry.
        entries = [entry for entry, _ in zip(found, left, strict=False)]
    hidden = start.startswith(".")
    entries = [
        entry
        for entry in sorted(entries, key=lambda entry: entry.name)
        if entry.name.startswith(start) and (hidden or not entry.name.startswith("."))
    ]
    within = []
    for entry in entries:
        if wanted(entry):
            yield folder + entry.name
        elif entry.is_dir() and not holds_run(entry.path) and entry.name != "node_modules":
            within.append(entry.name)
    for name in within if depth else ():
        yield from _below(f"{folder}{name}/", "", wanted, depth - 1, left)


def _is_file(entry: os.DirEntry[str], ending: str) -> bool:
    return entry.name.endswith(ending) and entry.is_file()
