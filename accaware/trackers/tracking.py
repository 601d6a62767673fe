"""The observer that keeps trackers up to date, and the run unharmed by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_events import events
from accaware.rundir.journal_reader import read_journal
from accaware.rundir.result_file import read_result
from accaware.rundir.run_status import standing
from accaware.search.events import EpochFinished, Event, SearchStarted, TrialFinished
from accaware.trackers.tracked_run import TrackedRun
from accaware.wording import first_line

_SHARE = 0.1
"""Of a run's time that may go by with trackers, where they answer; the end's is beside that."""

_AFTER_FAILURE = 30.0
_MOST_AFTER_FAILURE = 600.0
"""Seconds at least until a tracker that failed is asked again: at first, and twice as many each
time up to the most."""


class Tracker(Protocol):
    """Shows runs. Asked to bring itself up to date it may raise anything: the run isn't harmed.

    After that it looks up anew what it holds, so that no number is there twice.
    """

    @property
    def name(self) -> str:
        """As a config names it."""

    def send(self, run: TrackedRun) -> None:
        """Take in what it doesn't have yet of a run that goes on."""

    def end(self, run: TrackedRun, directory: RunDirectory) -> None:
        """The same of a run whose process is done with it, and the files that it leaves."""


class Tracking:
    """Tells trackers of a run, from the begin of its search until its process is done with it.

    What they are told is made of the journal and of the events since. Each is asked what it holds
    and gets the rest, so that a run that is resumed goes on in the same curves. To be left when
    all files of the run are written.

    Args:
        config: of the run, resolved.
        warn: told once of each tracker that fails, and again where it lacks something in the end.
        to_resume: how the run is gone on with, which sends what is missing.
    """

    def __init__(
        self,
        directory: RunDirectory,
        config: Mapping[str, Any],
        trackers: Sequence[Tracker],
        *,
        warn: Callable[[str], None],
        to_resume: str,
    ) -> None:
        self._directory = directory
        self._config = config
        self._warn = warn
        self._couriers = [_Courier(tracker, warn, to_resume) for tracker in trackers]
        self._run: TrackedRun | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._run is not None:
            self._harmlessly(self._end)

    def notify(self, event: Event) -> None:
        """Note an event; an epoch or a trial that ends is sent."""
        self._harmlessly(self._take, event)

    def send_ended(self) -> None:
        """Send what is missing of a run that has ended before."""
        self._harmlessly(self._end)

    def _take(self, event: Event) -> None:
        if self._run is None:
            if not isinstance(event, SearchStarted):
                return
            self._run = self._known()
        self._run.take(event, time.time())
        if isinstance(event, SearchStarted | EpochFinished | TrialFinished):
            for courier in self._couriers:
                courier.send(self._run)

    def _known(self) -> TrackedRun:
        """What the journal tells: all that the search isn't led through again, and more."""
        run = TrackedRun(self._directory.path.absolute().name, self._config)
        for when, event in events(read_journal(self._directory.events)):
            run.take(event, when)
        return run

    def _end(self) -> None:
        run = self._run or self._known()
        state = standing(self._directory, ended=True).state
        run.end(state, read_result(self._directory.result))
        for courier in self._couriers:
            courier.end(run, self._directory)

    def _harmlessly(self, do: Callable[..., None], *arguments: Any) -> None:
        if not self._couriers:
            return
        try:
            do(*arguments)
        except Exception as failure:  # noqa: BLE001 - no run fails because of a tracker
            self._couriers.clear()
            self._warn(f"the run is tracked no further: {first_line(failure)}")


class _Courier:
    """Goes to one tracker: seldom enough not to hold the run up, and without harm to it."""

    def __init__(self, tracker: Tracker, warn: Callable[[str], None], to_resume: str) -> None:
        self._tracker = tracker
        self._warn = warn
        self._to_resume = to_resume
        self._next = 0.0
        self._failures = 0
        self._warned = False

    def send(self, run: TrackedRun) -> None:
        """Send what is missing, unless the last time was just now or failed not long ago."""
        began = time.monotonic()
        if began < self._next:
            return
        pause = 0.0
        try:
            self._tracker.send(run)
            self._failures = 0
        except Exception as failure:  # noqa: BLE001 - no run fails because of a tracker
            pause = min(_AFTER_FAILURE * 2**self._failures, _MOST_AFTER_FAILURE)
            self._failures += 1
            if not self._warned:
                self._warned = True
                self._warn(
                    f"{self._tracker.name}: {first_line(failure)}; the run goes on, and sends what "
                    "is missing later, at its end at the latest"
                )
        now = time.monotonic()
        self._next = now + max(pause, (now - began) * (1 / _SHARE - 1))

    def end(self, run: TrackedRun, directory: RunDirectory) -> None:
        """Send all that is missing now."""
        try:
            self._tracker.end(run, directory)
        except Exception as failure:  # noqa: BLE001 - what was found is no worse without it
            self._warn(
                f"{self._tracker.name} lacks some of the run: {first_line(failure)}; "
                f"{self._to_resume}"
            )
