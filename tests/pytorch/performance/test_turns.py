"""Timing in turn, on a clock that is told how long everything takes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from accaware.pytorch.performance.turns import latencies


class Machine:
    """Runs things that take known times, and notes their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        return self.now

    def taking(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds(self.order.count(name))
            self.order.append(name)

        return run


def test_they_take_turns() -> None:
    machine = Machine()
    a, b = machine.taking("a", lambda _: 0.01), machine.taking("b", lambda _: 0.03)
    first, second = latencies([a, b], 2.0, machine.clock)
    turns = "".join(name for name, _ in groupby(machine.order))
    assert turns == "ab" * 9  # warming up, then eight
    assert round(first.median, 9) == round(first.upper_quartile, 9) == 0.01
    assert round(second.median, 9) == round(second.lower_quartile, 9) == 0.03
    assert first.forwards > 2 * second.forwards > 0
    assert 4.0 < machine.now < 4.8


def test_the_quartiles_are_around_the_median() -> None:
    machine = Machine()
    slow_now_and_then = machine.taking("a", lambda number: 0.04 if number % 3 == 0 else 0.01)
    latency, _ = latencies(
        [slow_now_and_then, machine.taking("b", lambda _: 0.02)], 2.0, machine.clock
    )
    assert round(latency.lower_quartile, 9) == round(latency.median, 9) == 0.01
    assert round(latency.upper_quartile, 9) == 0.04


def test_the_first_of_a_turn_does_not_count() -> None:
    machine = Machine()

    def with_cold_caches(number: int) -> float:
        return 0.01 if machine.order[-1:] == ["a"] else 0.09

    a = machine.taking("a", with_cold_caches)
    latency, _ = latencies([a, machine.taking("b", lambda _: 0.01)], 2.0, machine.clock)
    assert round(latency.upper_quartile, 9) == 0.01


def test_what_is_slow_is_run_a_few_times_only() -> None:
    machine = Machine()
    a, b = machine.taking("a", lambda _: 10.0), machine.taking("b", lambda _: 2.0)
    first, second = latencies([a, b], 0.2, machine.clock)
    assert (first.median, second.median) == (10.0, 2.0)
    assert first.forwards == 3
    assert machine.order.count("a") == 4
