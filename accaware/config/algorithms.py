"""The algorithms that a config may name, and those that NNCF knows and this version doesn't."""

from __future__ import annotations

from typing import Any

from accaware.config.fault import Fault
from accaware.config.paths import Path
from accaware.config.wording import closest, listed, shown

SUPPORTED = ("filter_pruning", "magnitude_sparsity")

_INSTEAD = {
    "quantization": None,
    "experimental_quantization": None,
    "binarization": None,
    "knowledge_distillation": None,
    "rb_sparsity": "magnitude_sparsity",
    "const_sparsity": "magnitude_sparsity",
    "movement_sparsity": "magnitude_sparsity",
    "NoCompressionAlgorithm": None,
}


def algorithm_fault(entry: dict[str, Any], path: Path) -> Fault | None:
    """What is wrong with the name of the algorithm in ``entry``, which stands at ``path``."""
    place = (*path, "algorithm")
    if "algorithm" not in entry:
        return Fault(place, f"is missing; it is {listed(SUPPORTED)}", at_key=True)
    name = entry["algorithm"]
    if not isinstance(name, str):
        return Fault(place, f"{shown(name)} is not {listed(SUPPORTED)}")
    if name in SUPPORTED:
        return None
    if name in _INSTEAD:
        instead = _INSTEAD[name]
        hint = f"; use {instead}" if instead else f"; it supports {listed(SUPPORTED, 'and')}"
        return Fault(place, f"{shown(name)} is not supported by this version{hint}")
    meant = closest(name, (*SUPPORTED, *_INSTEAD))
    if meant in SUPPORTED:
        message = f"{shown(name)} is not {listed(SUPPORTED)}; did you mean {meant}?"
        return Fault(place, message, suggestion=meant)
    return Fault(place, f"{shown(name)} is not {listed(SUPPORTED)}")
