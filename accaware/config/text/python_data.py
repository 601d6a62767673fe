"""A Python mapping, as a caller hands it over, reduced to JSON data."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from accaware.config.text.fault import Fault
from accaware.config.text.parse import DEEPEST
from accaware.config.text.paths import KeyPath


def json_data(value: Any, faults: list[Fault], path: KeyPath = ()) -> Any:
    """A copy of ``value`` of dicts, lists, strings, numbers, booleans and None.

    Whatever is none of these is None in the copy, and a fault tells of it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            faults.append(Fault(path, "holds half of a surrogate pair"))
            return None
        return value
    if isinstance(value, numbers.Real):  # NumPy's numbers too
        return _number(value, faults, path)
    if isinstance(value, Mapping | list | tuple) and len(path) >= DEEPEST:
        faults.append(Fault(path[:8], f"is nested deeper than {DEEPEST} levels"))
        return None
    if isinstance(value, Mapping):
        copy = {}
        for key, entry in value.items():
            if isinstance(key, str):
                copy[key] = json_data(entry, faults, (*path, key))
            else:
                faults.append(Fault((*path, str(key)), "is a key that is not a string"))
        return copy
    if isinstance(value, list | tuple):
        return [json_data(entry, faults, (*path, index)) for index, entry in enumerate(value)]
    faults.append(Fault(path, f"a {type(value).__name__} is not JSON data"))
    return None


def _number(value: numbers.Real, faults: list[Fault], path: KeyPath) -> int | float | None:
    try:
        number = float(value)
    except OverflowError:
        faults.append(Fault(path, "is too large for a number"))
        return None
    if not math.isfinite(number):
        faults.append(Fault(path, f"{number} is not a number that a config can hold"))
        return None
    return int(value) if isinstance(value, numbers.Integral) else number
