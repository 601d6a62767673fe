"""One run in the processes that torchrun started for it: they begin and end together.

Every process runs the whole search. The first one alone has the run's directory and talks; the
others are answered what it is answered.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from accaware.api.lifecycle.signals import Interrupted
from accaware.errors import OtherProcessFailed, PluginFailure, RunError, UsageError
from accaware.search.events import Event
from accaware.search.replay.replay import Replay
from accaware.wording import first_line

T = TypeVar("T")


class Processes(Protocol):
    """This process among those of a run."""

    @property
    def rank(self) -> int:
        """Its number, 0 for the first."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and talks."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended early, and this process is by itself."""

    def agree(self, value: T) -> T:
        """What the first one has here."""

    def replay(
        self, recorded: Iterable[tuple[str, Any]], record: Callable[[str, Any], None]
    ) -> Replay:
        """Of the search that they all run."""

    def stopping(self, event: Event, asked: int | None) -> int | None:
        """The signal by which this process is to end at an event, having been asked by one."""

    def announce(self, ending: str) -> str:
        """End early; what was announced first."""

    def finish_alone(self) -> None:
        """The search has ended: the others wait for the first."""

    def tell(self, result: Any) -> None:
        """By the first, when all is done."""

    def told(self) -> Any:
        """What the first tells."""


class SingleProcess:
    """Most runs' only process."""

    rank = 0
    count = 1
    is_first = True
    is_over = False

    def agree(self, value: T) -> T:
        """The value itself."""
        return value

    def replay(
        self, recorded: Iterable[tuple[str, Any]], record: Callable[[str, Any], None]
    ) -> Replay:
        """A plain one."""
        return Replay(recorded, record)

    def stopping(self, event: Event, asked: int | None) -> int | None:
        """The signal that asked."""
        return asked

    def announce(self, ending: str) -> str:
        """Nobody hears it."""
        return ending

    def finish_alone(self) -> None:
        """It is alone."""

    def tell(self, result: Any) -> None:
        """Nobody hears it."""

    def told(self) -> Any:
        """Nobody tells."""
        raise AssertionError("there is no other process")


def joined() -> AbstractContextManager[Processes]:
    """This process among those that torchrun's environment tells of."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return nullcontext(SingleProcess())
    from accaware.pytorch.distributed.launch import joined

    return joined()


@contextmanager
def ending_together(processes: Processes) -> Iterator[None]:
    """Whatever ends one of the processes early ends them all, and is told by that one alone.

    Raises:
        Interrupted: a signal came to one of them.
        OtherProcessFailed: another one has failed.
    """
    try:
        yield
    except BaseException as error:
        if processes.count == 1 or processes.is_over:
            raise
        own = _Ending.of(error, processes.rank)
        counts = _Ending.of_json(processes.announce(json.dumps(asdict(own))))
        if counts.signum is not None:
            raise Interrupted(counts.signum, quiet=not processes.is_first) from None
        if counts.rank != processes.rank:
            raise OtherProcessFailed(
                f"the process of rank {counts.rank} failed: {counts.message}",
                mistake=counts.mistake,
            ) from error
        if _is_lost_connection(error):
            raise RunError(
                "another process is gone or hangs: it or its machine was killed, or it didn't go "
                f"on for the seconds of ACCAWARE_PROCESS_TIMEOUT ({counts.message})"
            ) from error
        if not processes.is_first:
            error.add_note(f"in the process of rank {processes.rank}, of {processes.count}")
        raise


def _is_lost_connection(error: BaseException) -> bool:
    """Whether a collective failed as there was nobody at its other end."""
    original = error.original if isinstance(error, PluginFailure) else error
    return isinstance(original, RuntimeError) and any(
        sign in str(original) for sign in ("closed by peer", "reset by peer", "Timed out waiting")
    )


@dataclass(frozen=True)
class _Ending:
    """Why a process ends early.

    Attributes:
        signum: of the signal that asked it to; None where it has failed.
        mistake: whether that is the user's, found before any training.
    """

    rank: int
    message: str
    signum: int | None
    mistake: bool

    @classmethod
    def of(cls, error: BaseException, rank: int) -> _Ending:
        signum = None
        if isinstance(error, KeyboardInterrupt):
            signum = int(getattr(error, "signum", signal.SIGINT))
        message = first_line(error) if isinstance(error, Exception) else repr(error)
        return cls(rank, message, signum, isinstance(error, UsageError))

    @classmethod
    def of_json(cls, text: str) -> _Ending:
        return cls(**json.loads(text))
