"""The processes that torchrun started for one run: how they meet, end together, and part."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event as Flag
from threading import Thread
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store, Work
from torch.distributed.rendezvous import rendezvous

from accaware.pytorch.distributed.agreed_replay import AgreedReplay
from accaware.pytorch.distributed.agreement import be_by_itself
from accaware.search.events import BatchFinished, Event
from accaware.search.replay.replay import Replay

T = TypeVar("T")

TIMEOUT = "ACCAWARE_PROCESS_TIMEOUT"
"""The environment's name for how many seconds a process waits for another one."""

_TIMEOUT = 1800.0

_PATIENCE = 20.0
"""Seconds that a process has to end by itself once another one has failed; at most TIMEOUT's."""

_MOMENT = 1.0
"""Seconds in which the others see what the first process says, and it what they say."""

_TURN = 0.1
"""Seconds between two looks at what the others said."""

_runs = itertools.count()
"""Of this process: a script may have several, one after another, in all of its processes."""


@contextmanager
def joined() -> Iterator[TorchProcesses]:
    """Meet the other processes, as torchrun's environment says, and part from them afterwards.

    On CUDA gradients are averaged by nccl, all else by gloo. A group that a script has made stays
    as it is.
    """
    # torchrun's store has what was said before it started the processes again.
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    name, mine = f"accaware/{start}/{next(_runs)}", not distributed.is_initialized()
    timeout = timedelta(seconds=float(os.environ.get(TIMEOUT, _TIMEOUT)))
    be_by_itself(False)
    if mine:
        found, rank, count = next(iter(rendezvous("env://", timeout=timeout)))
        store: Store = PrefixStore(name, found)
        cuda = torch.cuda.is_available() and distributed.is_nccl_available()
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=count,
            timeout=timeout,
        )
    else:
        store = PrefixStore(name, distributed.distributed_c10d._get_default_store())
    processes = TorchProcesses(store, timeout)
    try:
        yield processes
    finally:
        processes.part()
        if mine and not processes.is_over:
            distributed.destroy_process_group()


class TorchProcesses:
    """What one of several processes says to the others beside training with them.

    What matters when one of them has failed goes by the store, as nobody waits there for anybody.

    Args:
        store: of this run.
        timeout: of collectives.
    """

    def __init__(self, store: Store, timeout: timedelta) -> None:
        self._store = store
        self.rank = distributed.get_rank()
        self.count = distributed.get_world_size()
        self._signals: Any = distributed.new_group(backend="gloo", timeout=timeout)
        self._sent: tuple[torch.Tensor, Work | None] | None = None
        self._sayings = itertools.count()
        self._patience = min(_PATIENCE, timeout.total_seconds())
        self._over = Flag()
        self._parted = Flag()
        Thread(target=self._watch, daemon=True).start()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    @property
    def is_over(self) -> bool:
        """Whether the run has ended early, by whoever of them."""
        return self._over.is_set()

    def agree(self, value: T) -> T:
        """What the first process says, which every other one asks for as often.

        Raises:
            EndedElsewhere: it ended early.
        """
        key = f"said {next(self._sayings)}"
        if not self.is_first:
            heard: T = self._heard(key)
            return heard
        self._say(key, value)
        return value

    def replay(
        self, recorded: Iterable[tuple[str, Any]], record: Callable[[str, Any], None]
    ) -> Replay:
        """Of a search that they all run alike."""
        return AgreedReplay(recorded, record)

    # Signals --------------------------------------------------------------------------------

    def stopping(self, event: Event, asked: int | None) -> int | None:
        """The signal by which this process is to end here; None where it is to go on.

        Between two training batches all end at the same, as each waits for the others within
        them: what they were asked is sent on after one batch, and read after the next.

        Args:
            event: at which this process may end.
            asked: the signal that it got itself.
        """
        if isinstance(event, BatchFinished) and event.activity == "train":
            signum = self._received()
            told = torch.tensor(asked or 0)
            work = distributed.all_reduce(
                told, distributed.ReduceOp.MAX, group=self._signals, async_op=True
            )
            self._sent = told, work
            return signum
        signum = self._received() or asked
        # Elsewhere nobody waits for anybody, and a look at the store is quick.
        if signum is None and self._store.check([_ENDING]):
            signum = json.loads(self._store.get(_ENDING))["signum"]
            if signum is None:
                raise EndedElsewhere
        return signum

    def _received(self) -> int | None:
        """What somebody was asked a batch ago."""
        if self._sent is None:
            return None
        (told, work), self._sent = self._sent, None
        assert work is not None
        work.wait()
        return int(told) or None

    # The end --------------------------------------------------------------------------------

    def announce(self, ending: str) -> str:
        """Tell why this process ends early, from where on it is by itself.

        Args:
            ending: a JSON object; "signum" is of the signal that asked for it, null for a failure.

        Returns:
            What was said first, by whoever of them.
        """
        if not self.is_over:
            if not self.is_first:
                # Most often it meets the same, and then it is the one to tell of it.
                self._wait_for([_ENDING], _MOMENT)
            be_by_itself()
        with suppress(RuntimeError):  # the store is gone with the process that had it
            ending = self._store.compare_set(_ENDING, "", ending).decode()
            if self.is_first:
                self._store.set(_FIRST_LEFT, "")
        self._over.set()
        return ending

    def finish_alone(self) -> None:
        """The search has ended: what is left to do is the first process's."""
        be_by_itself()

    def tell(self, result: Any) -> None:
        """By the first process: all is done, and this came of it."""
        self._say(_RESULT, result)

    def told(self) -> Any:
        """What the first process tells in the end, however long it takes.

        Raises:
            EndedElsewhere: it ended early.
        """
        return self._heard(_RESULT)

    def _say(self, key: str, value: Any) -> None:
        self._store.set(key, pickle.dumps(value).hex())  # it takes text

    def _heard(self, key: str) -> Any:
        while not self._store.check([key]):
            if self._store.check([_ENDING]):
                raise EndedElsewhere
            time.sleep(_TURN)
        return pickle.loads(bytes.fromhex(self._store.get(key).decode()))

    def part(self) -> None:
        """Let the first process do what it has to; whoever it waits for lets go of it at once.

        The first is the last to go: without torchrun the store goes with it.
        """
        with suppress(RuntimeError):
            if self.is_first:
                self._store.set(_DONE, "")
                self._wait_for([f"{_GONE} {rank}" for rank in range(1, self.count)], _MOMENT)
            else:
                if self.is_over and self._wait_for([_FIRST_LEFT], _MOMENT):
                    self._wait_for([_DONE], float("inf"))
                self._store.set(f"{_GONE} {self.rank}", "")
        self._parted.set()

    def _wait_for(self, keys: list[str], seconds: float) -> bool:
        """Whether somebody said so within that time."""
        until = time.monotonic() + seconds
        with suppress(RuntimeError):
            while time.monotonic() < until:
                if self._store.check(keys):
                    return True
                time.sleep(_TURN)
        return False

    def _watch(self) -> None:
        """End this process where another one has failed and it waits for that in vain."""
        with suppress(RuntimeError):
            while not self._parted.wait(1.0):
                if not self._store.check([_ENDING]) or self._over.wait(self._patience):
                    continue
                # The first process may have work to do before it lets go of the others.
                while self._store.check([_FIRST_LEFT]) and not self._store.check([_DONE]):
                    if self._over.wait(1.0):
                        break
                if not self._over.wait(_MOMENT):
                    sys.stderr.write(
                        f"process {self.rank} of {self.count} waited for one that has failed; "
                        f"it was ended after {self._patience:g} s\n"
                    )
                    sys.stderr.flush()
                    os._exit(1)


class EndedElsewhere(BaseException):
    """Another process has failed. No Exception: nothing of the user's is to be tried again."""


_ENDING, _FIRST_LEFT, _DONE, _RESULT, _GONE = "ending", "first left", "done", "result", "gone"
