"""How long a trial and the whole search may still take, by the epochs that were measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)

_LATEST = 3
"""Epochs of a trial that count: what shares the machine with it comes and goes."""


@dataclass(frozen=True)
class AtMost:
    """Seconds; a trial or a search may end any time before."""

    trial: float
    search: float


@dataclass
class _Course:
    """A trial as far as it was told of, ``rate`` being that of its latest epoch."""

    planned: int
    rate: float
    since: float
    seconds: list[float] = field(default_factory=list)

    @property
    def pace(self) -> float | None:
        """Seconds of an epoch; None where none was measured."""
        return median(self.seconds[-_LATEST:]) if self.seconds else None


class TimeLeft:
    """Bounds, and no forecast: a trial takes all of its epochs, a search all that it may cost.

    An epoch of a trial takes as long as those before it. For the first one that is as long as one
    of another trial at the same rate, or at the next lower one, where epochs are longer. The
    search may still go to any rate, so that each of its epochs takes as long as the longest ones.
    It counts them one after the other; trials that run side by side take less.

    The times are those that were recorded, so that they are known in a resumed run, too.

    Args:
        clock: seconds from some moment on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most_epochs = 0
        self._courses: dict[int, _Course] = {}
        self._trained: dict[int, int] = {}

    def notify(self, event: Event) -> None:
        """Take in what an event tells of epochs."""
        now = self._clock()
        if isinstance(event, SearchStarted):
            self._most_epochs = event.most_epochs
        elif isinstance(event, TrialStarted):
            known = self._courses.get(event.number)
            course = _Course(event.epochs, event.compression_rate, now)
            course.seconds = known.seconds if known else []
            self._courses[event.number] = course
        elif isinstance(event, EpochStarted) and event.trial in self._courses:
            self._courses[event.trial].since = now
        elif isinstance(event, EpochFinished) and event.trial in self._courses:
            course, epoch = self._courses[event.trial], event.epoch
            course.since, course.rate = now, epoch.compression_rate
            if epoch.number > 0:
                course.seconds.append(epoch.seconds)
                self._trained[event.trial] = len(course.seconds)
        elif isinstance(event, TrialFinished):
            # Of one that was left, fewer epochs may count than were told of.
            trained = sum(epoch.number > 0 for epoch in event.trial.epochs)
            self._trained[event.trial.number] = trained

    def of(self, trials: Sequence[int]) -> AtMost | None:
        """For trials that run, the longest of them; None where nothing was measured yet."""
        courses = [self._courses[trial] for trial in trials if trial in self._courses]
        paces = [self._pace(course) for course in courses]
        longest = max((one.pace or 0.0 for one in list(self._courses.values())), default=0.0)
        if not courses or None in paces:
            return None
        now = self._clock()
        trial = max(
            _rest(course.planned - len(course.seconds), pace or 0.0, now - course.since)
            for course, pace in zip(courses, paces, strict=True)
        )
        epochs = self._most_epochs - sum(self._trained.values())
        since = max(course.since for course in courses)
        return AtMost(trial, max(trial, _rest(epochs, longest, now - since)))

    def _pace(self, course: _Course) -> float | None:
        if course.pace is not None:
            return course.pace
        measured = [(one.rate, one.pace) for one in list(self._courses.values()) if one.seconds]
        lower = [pair for pair in measured if pair[0] <= course.rate]
        nearest = max(lower, default=None) or min(measured, default=None)
        return None if nearest is None else nearest[1]


def _rest(epochs: int, pace: float, since: float) -> float:
    """Of so many epochs, the first of which began ``since`` seconds ago."""
    return max(epochs * pace - min(since, pace), 0.0)
