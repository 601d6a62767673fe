"""The generators that a training's randomness comes from."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import torch


class RandomState:
    """Python's, NumPy's and torch's generators, and those of data loaders, as one state.

    A loader's workers are seeded from these when an epoch begins, so between two epochs they
    have no state of their own, unless they persist.

    Args:
        loaders: data loaders; their own, their sampler's and their batch sampler's generators
            count, where they have any.
    """

    def __init__(self, loaders: Iterable[Any], device: torch.device) -> None:
        self._generators = _generators_of(loaders)
        self._device = device

    def state_dict(self) -> dict[str, Any]:
        return {
            "python": random.getstate(),
            "numpy": _numpy_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "mps": torch.mps.get_rng_state() if self._device.type == "mps" else None,
            "loaders": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        random.setstate(state["python"])
        _set_numpy_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and self._device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda"])
        if state["mps"] is not None and self._device.type == "mps":
            torch.mps.set_rng_state(state["mps"])
        for generator, its in zip(self._generators, state["loaders"], strict=True):
            generator.set_state(its)


def _generators_of(loaders: Iterable[Any]) -> list[torch.Generator]:
    found: dict[int, torch.Generator] = {}
    for loader in loaders:
        batches = getattr(loader, "batch_sampler", None)
        holders = (loader, getattr(loader, "sampler", None), batches)
        for holder in (*holders, getattr(batches, "sampler", None)):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                found.setdefault(id(generator), generator)
    return list(found.values())


def _numpy_state() -> dict[str, Any] | None:
    try:
        import numpy
    except ImportError:
        return None
    state: Any = numpy.random.get_state(legacy=False)
    # An array would be the one thing in the file that isn't torch's or Python's own.
    words = torch.from_numpy(state["state"]["key"].astype("int64"))
    return {**state, "state": {**state["state"], "key": words}}


def _set_numpy_state(state: dict[str, Any] | None) -> None:
    if state is None:
        return
    import numpy

    words = state["state"]["key"].tolist()
    numpy.random.set_state({**state, "state": {**state["state"], "key": words}})
