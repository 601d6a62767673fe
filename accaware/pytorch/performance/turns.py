"""Timing several things in turn, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from accaware.results.latency import Latency

_TURNS = 8
"""Of each, A B A B ...; many short ones are fairer, but each begins with cold caches."""

_LEAST_TURNS = 3
"""Where single calls take longer than there is time."""

_WARMUP = 3


def latencies(
    subjects: Sequence[Callable[[], object]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Latency]:
    """Time each subject, over and over, in turn.

    Args:
        seconds: of each, warming up aside; more where one call takes longer than its turn.
        clock: gives seconds once all that was asked for is done.
    """
    for subject in subjects:
        end = clock() + seconds
        for _ in range(_WARMUP):
            subject()
            if clock() > end:
                break
    times: list[list[float]] = [[] for _ in subjects]
    end = clock() + 2 * seconds * len(subjects)
    for turn in range(_TURNS):
        if turn >= _LEAST_TURNS and clock() > end:
            break
        for subject, own in zip(subjects, times, strict=True):
            own += _turn(subject, seconds / _TURNS, clock)
    return [_latency(own) for own in times]


def _turn(subject: Callable[[], object], seconds: float, clock: Callable[[], float]) -> list[float]:
    times: list[float] = []
    end = clock() + seconds
    while not times or clock() < end:
        began = clock()
        subject()
        times.append(clock() - began)
    # The first one finds the caches full of the others' data.
    return times[1:] or times


def _latency(times: list[float]) -> Latency:
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(median=median, lower_quartile=lower, upper_quartile=upper, forwards=len(times))
