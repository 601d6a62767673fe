"""An actor of Ray's that runs trials on a bench of its own."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accaware.errors import AccAwareError, PluginFailure
from accaware.ray.bench import BenchFactory, Surroundings, TravellingBench
from accaware.search.trials.course import TrialCourse
from accaware.search.trials.order import EpochDone, Report, TrialOrder


@dataclass(frozen=True)
class Hello:
    """A worker is there."""

    name: str
    surroundings: Surroundings


@dataclass(frozen=True)
class Raised:
    """What went wrong on a worker, in words: its exceptions may be of kinds that can't be sent.

    Attributes:
        function: of the user's, that raised; None where it wasn't theirs.
        trace: for whoever has to mend it.
    """

    message: str
    function: str | None = None
    trace: str = ""

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """In words."""
        function, cause = None, error
        if isinstance(error, PluginFailure) and isinstance(error.original, Exception):
            function, cause = error.function, error.original
        known = isinstance(error, AccAwareError)
        message = str(error) if known else f"{type(cause).__name__}: {cause}"
        return cls(message, function, "".join(traceback.format_exception(cause)))


@dataclass(frozen=True)
class Sent:
    """A report, and with an epoch the trial as it is behind it."""

    report: Report
    parcel: Any = None


class _Left(BaseException):
    """Nobody wants the trial at hand any more."""


class Worker:
    """Builds its bench once, and takes one trial after another.

    Ray calls ``leave`` in another thread than everything else.
    """

    def __init__(self, factory: BenchFactory) -> None:
        self._factory = factory
        self._bench: TravellingBench | None = None
        self._left: set[int] = set()
        self._trial: int | None = None

    def hello(self) -> Hello | Raised:
        """Who this is and where, or what stands against a bench here."""
        try:
            surroundings = self._factory.look()
        except Exception as error:  # noqa: BLE001 - told as it is
            return Raised.of(error)
        return Hello(f"{socket.gethostname()}/{os.getpid()}", surroundings)

    def build(self, setup: Any) -> Raised | None:
        """Make the bench; what went wrong, if anything did."""
        try:
            self._bench = self._factory.make(setup, self._check)
        except Exception as error:  # noqa: BLE001 - told as it is
            return Raised.of(error)
        return None

    def run(self, order: TrialOrder, start: Any, kept: Any) -> Iterator[Sent | Raised]:
        """Run a trial, or go on with it.

        Args:
            start: the checkpoint that it starts from.
            kept: where it was kept elsewhere; None where it wasn't.
        """
        assert self._bench is not None
        self._trial = order.number
        course = TrialCourse(order, self._bench)
        try:
            self._bench.unpack(start)
            if kept is not None:
                self._bench.unpack_trial(order, kept)
            yield from self._reports(order, course, kept)
        except _Left:
            pass
        except Exception as error:  # noqa: BLE001 - told as it is
            yield Raised.of(error)
        finally:
            self._trial = None
            self._left.discard(order.number)
        course.leave()
        self._bench.forget(order.number)

    def leave(self, trial: int) -> None:
        """End a trial behind its batch at hand."""
        self._left.add(trial)

    def _reports(self, order: TrialOrder, course: TrialCourse, kept: Any) -> Iterator[Sent]:
        assert self._bench is not None
        last = None if kept is None else kept.name
        sent = frozenset() if kept is None else kept.files
        for report in course.reports():
            self._check()
            parcel = (
                self._bench.packed_trial(order, sent) if isinstance(report, EpochDone) else None
            )
            if parcel is not None and parcel.name == last:
                parcel = None  # an epoch of long ago is told again
            if parcel is not None:
                last, sent = parcel.name, sent | parcel.files
            yield Sent(report, parcel)

    def _check(self) -> None:
        if self._trial in self._left:
            raise _Left
