"""Algorithms that were written outside of `compression`: as the whole config, or at its top."""

from __future__ import annotations

from typing import Any

from accaware.config.model.algorithms import SUPPORTED, algorithm_meant, names_algorithm
from accaware.config.schema.catalog import properties, schema
from accaware.config.text.fault import Fault
from accaware.config.text.messages import listed, shown

_SECTIONS = ("compression", "accuracy_aware_training")


def algorithm_at_top(data: dict[str, Any]) -> dict[str, Any]:
    """The keys of a config's top that are an algorithm's; empty where none of them names one."""
    if not any(map(names_algorithm, data)):
        return {}
    name = algorithm_meant(data)
    of_config = properties(schema("config"))
    of_algorithms = {
        key for one in ([name] if name else SUPPORTED) for key in properties(schema(one))
    }
    return {
        key: value
        for key, value in data.items()
        if key not in of_config and (key in of_algorithms or names_algorithm(key))
    }


def at_top_fault(keys: list[str], data: dict[str, Any]) -> Fault:
    """Where the ``keys`` of an algorithm that stand at the top of ``data`` belong."""
    inside = ", ".join(f'"{key}": ...' for key in keys)
    if "compression" in data:
        where = f'"compression", which may be a list of objects, as {{{inside}}}'
    else:
        where = f'"compression": {{{inside}}}'
    they, them = ("is a key", "it") if len(keys) == 1 else ("are keys", "them")
    message = (
        f"{listed(keys, 'and')} {they} of an algorithm, not of the config; put {them} into {where}"
    )
    meant = None if "compression" in data else ("compression",)
    return Fault((next(filter(names_algorithm, keys)),), message, at_key=True, meant=meant)


def whole_fault(data: Any, training: str) -> Fault:
    """What to write in the place of ``data``, which is no object.

    Args:
        training: a section `accuracy_aware_training` to paste.
    """
    what = "a config is an object in braces"
    entries = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    if any(any(map(names_algorithm, one)) for one in entries):
        message = f'{what}; put this list into one, as "compression": [...], beside {training}'
    elif any(section in one for one in entries for section in _SECTIONS):
        message = f"{what}; take the brackets [ ] around it away"
    else:
        message = f"{what}, not {shown(data)}"
    return Fault((), message)
