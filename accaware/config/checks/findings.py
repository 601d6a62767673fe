"""The faults that were found so far, and what they leave to be judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accaware.config.checks.outline import PRESET
from accaware.config.schema.applicability import required_keys
from accaware.config.schema.catalog import Schema, properties
from accaware.config.text.fault import Fault
from accaware.config.text.paths import KeyPath, dotted, prefixes


class Findings:
    """A list of faults that only grows, without any on what couldn't be read.

    Nor is anything said of a key that was probably meant by what stands elsewhere.

    Args:
        unread: the values of the text that couldn't be read.
    """

    def __init__(self, unread: frozenset[KeyPath]) -> None:
        self._unread = unread
        self._wrong = {around for path in unread for around in prefixes(path)}
        self._settled: set[KeyPath] = set()
        self._assumed: set[KeyPath] = set()
        self.faults: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Take in what is new of these."""
        for fault in faults:
            around = prefixes(fault.path)
            if fault.path in self._settled or not self._unread.isdisjoint(around):
                continue
            if self._assumed.isdisjoint(around):
                self.faults.append(fault)
            elif fault.severity == "error":
                message = f"stands for {dotted(fault.path)}: {fault.message}"
                self.faults.append(Fault(PRESET, message))
            if fault.severity == "error":
                self._wrong.update(around)
                if fault.meant is not None:
                    self._wrong.add(fault.meant)
                    self._settled.add(fault.meant)

    def assume(self, paths: Iterable[KeyPath]) -> None:
        """What stands there comes from the preset, which is what errors there point at.

        That it has no effect is no news to somebody who didn't write it.
        """
        self._assumed.update(paths)

    def settle(self, paths: Iterable[KeyPath]) -> None:
        """All has been said of what stands there, though not of what lies within."""
        self._settled.update(paths)

    def right(self, path: KeyPath) -> bool:
        """Whether nothing wrong was found so far at ``path`` or below."""
        return path not in self._wrong

    def sound(
        self, of: Schema, data: dict[str, Any], path: KeyPath
    ) -> tuple[dict[str, Any], set[str]]:
        """``data`` without what is wrong in it, and the keys that are wrong or missing."""
        kept: dict[str, Any] = {}
        faulty = {key for key in properties(of) if not self.right((*path, key))}
        for key, value in data.items():
            if self.right((*path, key)):
                kept[key] = value
            else:
                faulty |= {key, *properties(properties(of).get(key, {}))}
        faulty |= {key for key in required_keys(of, kept) if key not in data}
        params = data.get("params", {})
        if "params" in properties(of) and isinstance(params, dict):
            kept["params"], inner = self.sound(properties(of)["params"], params, (*path, "params"))
            faulty = faulty - set(properties(properties(of)["params"])) | inner
        return kept, faulty
