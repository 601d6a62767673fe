"""Time on a device that may still be computing when Python goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from accaware.pytorch.data.loaders import LoaderProxy


def now(device: torch.device) -> float:
    """Seconds, once all that the device was asked for is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


class Stopwatch(LoaderProxy):
    """A data loader that notes when each batch is taken, and ends early where they take long.

    Args:
        limit: seconds after which no further batch is given, once there were two.
    """

    def __init__(self, loader: Any, device: torch.device, limit: float) -> None:
        super().__init__(loader)
        self._device = device
        self._limit = limit
        self.seconds: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        self.seconds = []
        began = last = None
        for batch in self._loader:
            taken = now(self._device)
            if last is not None:
                self.seconds.append(taken - last)
            began = taken if began is None else began
            if len(self.seconds) > 1 and taken - began > self._limit:
                return
            last = taken
            yield batch
        if last is not None:
            self.seconds.append(now(self._device) - last)
