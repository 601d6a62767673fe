"""The algorithms that a config may name, and those that NNCF knows and this version doesn't."""

from __future__ import annotations

from typing import Any

from accaware.config.text.fault import Fault
from accaware.config.text.messages import closest, listed, shown
from accaware.config.text.paths import KeyPath

LEVELLED = ("filter_pruning", "magnitude_sparsity")
"""Those with a level that the search sets."""

SUPPORTED = (*LEVELLED, "quantization", "knowledge_distillation")

_INSTEAD = {
    "experimental_quantization": "use quantization",
    "binarization": "use quantization, with 2 bits or more",
    "rb_sparsity": "use magnitude_sparsity",
    "const_sparsity": "use magnitude_sparsity",
    "movement_sparsity": "use magnitude_sparsity",
    "bootstrapNAS": "use filter_pruning",
    "NoCompressionAlgorithm": f"use {listed(SUPPORTED)}",
}


def algorithm_fault(entry: dict[str, Any], path: KeyPath) -> Fault | None:
    """What is wrong with the name of the algorithm in ``entry``, which stands at ``path``."""
    place = (*path, "algorithm")
    if "algorithm" not in entry:
        return _missing(entry, path)
    name = entry["algorithm"]
    if not isinstance(name, str):
        return Fault(place, f"{shown(name)} is not {listed(SUPPORTED)}")
    if name in SUPPORTED:
        return None
    if name in _INSTEAD:
        return Fault(place, f"{shown(name)} is not supported by this version; {_INSTEAD[name]}")
    meant = closest(name, (*SUPPORTED, *_INSTEAD))
    if meant in SUPPORTED:
        message = f"{shown(name)} is not {listed(SUPPORTED)}; did you mean {meant}?"
        return Fault(place, message, suggestion=meant)
    return Fault(place, f"{shown(name)} is not {listed(SUPPORTED)}")


def algorithm_instead(name: str) -> str | None:
    """What to use in the place of an algorithm that only NNCF has; None where nothing is alike."""
    words = _INSTEAD.get(name, "").replace(",", "").split()
    named = [word for word in words if word in SUPPORTED]
    return named[0] if len(named) == 1 else None


def algorithm_meant(entry: dict[str, Any]) -> str | None:
    """The algorithm of ``entry``, or the one that was probably meant."""
    name = entry.get("algorithm", entry.get(next(filter(names_algorithm, entry), "")))
    if name is None and isinstance(entry.get("params"), dict):
        name = entry["params"].get("algorithm")  # in the wrong place, which is told elsewhere
    if not isinstance(name, str) or name in _INSTEAD:
        return None
    meant = name if name in SUPPORTED else closest(name, (*SUPPORTED, *_INSTEAD))
    return meant if meant in SUPPORTED else None


def names_algorithm(key: str) -> bool:
    """Whether it is the key `algorithm`, or a misspelling of it."""
    return key == "algorithm" or closest(key, ["algorithm"]) is not None


def _missing(entry: dict[str, Any], path: KeyPath) -> Fault:
    misspelt = next(filter(names_algorithm, entry), None)
    if misspelt is None:
        place = (*path, "algorithm")
        return Fault(place, f"is missing; it is {listed(SUPPORTED)}", at_key=True)
    message = "is not a known key; did you mean algorithm?"
    return Fault((*path, misspelt), message, suggestion="algorithm", at_key=True)
