"""Rules across the keys of the section `quantization`, whose keys are each right in themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accaware.config.model.quantization import RangeParams
from accaware.config.text.fault import Fault
from accaware.config.text.paths import KeyPath


def quantization_faults(section: dict[str, Any], path: KeyPath) -> Iterator[Fault]:
    """The percentiles of every range, wherever one is given."""
    yield from _ranges(section, path)
    for group, scopes in section.get("scope_overrides", {}).items():
        for scope, override in scopes.items():
            yield from _ranges(override, (*path, "scope_overrides", group, scope))


def _ranges(section: dict[str, Any], path: KeyPath) -> Iterator[Fault]:
    given = section.get("initializer", {}).get("range", {})
    place = (*path, "initializer", "range")
    if isinstance(given, dict):
        yield from _percentiles(given, place)
    else:
        for index, entry in enumerate(given):
            yield from _percentiles(entry, (*place, index))


def _percentiles(one: dict[str, Any], path: KeyPath) -> Iterator[Fault]:
    given, default = one.get("params", {}), RangeParams()
    low = given.get("min_percentile", default.min_percentile)
    high = given.get("max_percentile", default.max_percentile)
    if low >= high:
        key = "min_percentile" if "min_percentile" in given else "max_percentile"
        message = f"min_percentile {low:g} is not below max_percentile {high:g}"
        yield Fault((*path, "params", key), message)
