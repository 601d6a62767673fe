"""Trials in this process, one after another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from accaware.search.trials.course import TrialCourse
from accaware.search.trials.executor import TrialBench
from accaware.search.trials.order import Report, TrialOrder


class InProcessExecutor:
    """Runs trials in the order in which they come.

    Args:
        bench: on which all of them are run.
        clock: seconds from some moment on.
    """

    def __init__(self, bench: TrialBench, clock: Callable[[], float] = time.perf_counter) -> None:
        self._bench = bench
        self._clock = clock
        self._waiting: deque[TrialOrder] = deque()
        self._courses: dict[int, TrialCourse] = {}
        self._running: tuple[int, Iterator[Report]] | None = None

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        """Run these behind those that wait."""
        self._waiting.extend(orders)

    def next(self) -> Report | None:
        """Go on with the trial at hand up to its next report."""
        while self._running is not None or self._waiting:
            if self._running is None:
                order = self._waiting.popleft()
                self._courses[order.number] = TrialCourse(order, self._bench, self._clock)
                self._running = order.number, self._courses[order.number].reports()
            for report in self._running[1]:
                return report
            self._running = None
        return None

    def cancel(self, trial: int) -> None:
        """Leave a trial where it is."""
        self._waiting = deque(order for order in self._waiting if order.number != trial)
        if self._running is not None and self._running[0] == trial:
            self._running = None
        if trial in self._courses:
            self._courses[trial].leave()

    def forget(self, trials: Sequence[int]) -> None:
        """Drop what was kept to go on with them."""
        for trial in trials:
            self._courses.pop(trial, None)
            self._bench.forget(trial)

    def rewind(self) -> None:
        """Leave nothing of the last trial."""
        self._bench.reset(-1)

    def close(self) -> None:
        """There is nothing to let go of."""
