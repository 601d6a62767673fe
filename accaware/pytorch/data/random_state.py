"""The generators that a training's randomness comes from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.data.shards import sampler_of


class RandomState:
    """Python's, NumPy's and torch's generators, and those of data loaders, as one state.

    A loader's workers are seeded from these when an epoch begins, so between two epochs they
    have no state of their own, unless they persist.

    Args:
        loaders: data loaders; their own, their sampler's and their batch sampler's generators
            count, where they have any, and the epoch of a sampler that draws an order by it.
        device: that the training is on.
        warn: told which generators a state has that aren't here, or lacks, as where a training
            goes on with fewer devices.
    """

    def __init__(
        self,
        loaders: Iterable[Any],
        device: torch.device,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        loaders = list(loaders)
        self._generators = _generators_of(loaders)
        samplers = map(sampler_of, loaders)
        self._samplers = [each for each in samplers if each is not None]
        self._device = device
        self._warn = warn

    def restart(self, seed: int) -> None:
        """Begin anew with every generator."""
        seed_everything(seed)
        for generator in self._generators:
            generator.manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Where every generator is: Python's, NumPy's, torch's, the device's and the loaders'."""
        return {
            "python": random.getstate(),
            "numpy": _numpy_state(),
            "torch": torch.get_rng_state(),
            "device": str(self._device),
            "cuda": torch.cuda.get_rng_state_all() if self._device.type == "cuda" else [],
            "mps": torch.mps.get_rng_state() if self._device.type == "mps" else None,
            "loaders": [generator.get_state() for generator in self._generators],
            "samplers": [sampler.epoch for sampler in self._samplers],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put every generator back to where it was."""
        random.setstate(state["python"])
        _set_numpy_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        self._set_device_states(state)
        for generator, its in zip(self._generators, state["loaders"], strict=True):
            generator.set_state(its)
        # There are none with a single process.
        for sampler, epoch in zip(self._samplers, state.get("samplers", ()), strict=False):
            sampler.set_epoch(epoch)

    def _set_device_states(self, state: Mapping[str, Any]) -> None:
        before = torch.device(state.get("device", self._device))
        places, lost = placed(
            len(state["cuda"]),
            before,
            self._device,
            torch.cuda.device_count() if self._device.type == "cuda" else 0,
        )
        for index, place in places.items():
            torch.cuda.set_rng_state(state["cuda"][place], index)
        if self._device.type == "mps" and state["mps"] is not None:
            torch.mps.set_rng_state(state["mps"])
        elif state["mps"] is not None:
            lost = ["mps"]
        if lost:
            self._warn(
                f"the random numbers of {', '.join(lost)} don't go on where they were: "
                f"{'that device is' if len(lost) == 1 else 'those devices are'} not here"
            )
        if self._device.type not in ("cpu", before.type):
            self._warn(
                f"the random numbers of {self._device} begin anew: the training was on {before}"
            )


def placed(
    states: int, before: torch.device, now: torch.device, devices: int
) -> tuple[dict[int, int], list[str]]:
    """Which CUDA device goes on with which state, where there may be fewer devices than were.

    Args:
        states: so many there are, of the devices 0, 1, ...
        before: the device that was trained on.
        now: the device that is trained on; it goes on from that one's.
        devices: so many there are now.

    Returns:
        The numbers of the states by those of the devices, and the names of the devices that were
        and whose states nobody goes on with.
    """
    places = {index: index for index in range(min(states, devices))}
    if now.type == before.type == "cuda" and (before.index or 0) < states:
        places[now.index or 0] = before.index or 0
    left = sorted(set(range(states)) - set(places.values()))
    return places, [f"cuda:{index}" for index in left]


@contextmanager
def kept_randomness(loaders: Iterable[Any], device: torch.device) -> Iterator[None]:
    """Whatever is drawn within, nobody outside of it can tell."""
    randomness = RandomState(loaders, device)
    before = randomness.state_dict()
    try:
        yield
    finally:
        randomness.load_state_dict(before)


@contextmanager
def repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers within are the same each time, and those outside as if there were none."""
    with kept_randomness((), device):
        seed_everything(seed)
        yield


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
