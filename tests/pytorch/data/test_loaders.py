"""Data loaders: signals, and the workers that they reach as well."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from accaware.api.lifecycle.signals import Interrupted, StopRequest
from accaware.pytorch.data.loaders import DeviceLoader, FewBatches, begun
from accaware.search.events import BatchFinished

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "pthread_sigmask"), reason="signals reach no workers here"
)


def deaf() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


class Deaf(Dataset[bool]):
    """Whether the process that reads it hears of Ctrl-C, which it sends to itself."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return deaf()


def loader(**arguments: Any) -> DataLoader[bool]:
    return DataLoader(Deaf(), num_workers=2, **arguments)


def test_workers_hear_of_no_ctrl_c_and_their_process_does() -> None:
    few = FewBatches(loader(), 3)
    for batches in (begun(loader()), DeviceLoader(few, CPU, lambda done, total: None)):
        assert [bool(batch) for batch in batches] in ([True] * 4, [True] * 3)
    assert not deaf()


def test_a_worker_that_hears_of_it_all_the_same_leaves_the_word_to_its_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with StopRequest() as stop:
        stop.wait_for_batches()
        # As a plugin's own iteration begins them.
        assert [bool(batch) for batch in iter(loader(multiprocessing_context="fork"))] == [
            False
        ] * 4
        stop.notify(BatchFinished("train", 1, 2))
    assert capfd.readouterr().err == ""


def test_workers_that_a_signal_has_ended_are_no_failure() -> None:
    class Killed:
        def __iter__(self) -> Iterator[Any]:
            os.kill(os.getpid(), signal.SIGTERM)
            yield torch.zeros(1)
            raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")

    def tell(done: int, total: int | None) -> None:
        told.append(done)
        if len(told) > 1:
            stop.notify(BatchFinished("train", done, total))

    told: list[int] = []
    with StopRequest() as stop:
        stop.wait_for_batches()
        with pytest.raises(Interrupted, match="SIGTERM"):
            list(DeviceLoader(Killed(), CPU, tell))
    assert told == [1, 1]


def test_it_tells_how_long_it_was_waited_for() -> None:
    now = 0.0

    def clock() -> float:
        return now

    def batches() -> Iterator[int]:
        nonlocal now
        for batch in range(3):
            now += 2  # seconds until it is there
            yield batch

    loader = DeviceLoader(batches(), CPU, lambda done, total: None, clock)
    assert (loader.waited, loader.taken) == (0, 0)
    for _ in loader:
        now += 1  # seconds of training
    assert (loader.waited, loader.taken) == (6, 9)
