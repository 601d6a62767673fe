"""Paired timings for the benchmarks: medians over repeats, alternating, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians(
    subjects: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 2
) -> dict[str, float]:
    """Median seconds of each subject; they take turns, so that a slow minute hits all alike."""
    for _ in range(warmup):
        for subject in subjects.values():
            subject()
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, subject in subjects.items():
            began = time.perf_counter()
            subject()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}


def show(title: str, value: float, baseline: float, limit: float | None = None) -> None:
    """One line: both medians in milliseconds, their ratio, and the ratio that is promised."""
    promise = f" (at most {limit:g})" if limit is not None else ""
    ratio = value / baseline
    print(f"{title}: {1e3 * value:.1f} ms against {1e3 * baseline:.1f} ms, {ratio:.3f} x{promise}")
