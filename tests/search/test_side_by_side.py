"""Schedules of several algorithms, walked as one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.search.schedules.schedules import Adaptive, Baseline, MultiStep, Polynomial
from accaware.search.schedules.several import (
    ScheduleConfig,
    SideBySideScheduler,
    combined,
    scheduler_of,
)

MULTISTEP = ScheduleConfig(schedule=MultiStep(steps=(1, 3), levels=(0.0, 0.2, 0.4)))


def side_by_side(*configs: ScheduleConfig) -> tuple[SideBySideScheduler, list[Sequence[float]]]:
    applied: list[Sequence[float]] = []
    scheduler = scheduler_of(configs, applied.append)
    assert isinstance(scheduler, SideBySideScheduler)
    return scheduler, applied


def test_levels_are_put_on_the_model_together_and_once() -> None:
    scheduler, applied = side_by_side(MULTISTEP, ScheduleConfig(schedule=Baseline(0.5, delay=1)))
    for _ in range(5):
        scheduler.epoch_step()
    assert applied == [[0.0, 0.0], [0.2, 0.5], [0.4, 0.5]]
    assert scheduler.current_epoch == 4


def test_they_are_there_when_the_last_one_is() -> None:
    scheduler, _ = side_by_side(MULTISTEP, ScheduleConfig(schedule=Baseline(0.5)))
    assert scheduler.target == pytest.approx(0.7)
    found = []
    for _ in range(4):
        scheduler.epoch_step()
        found.append((scheduler.fully_compressed, round(scheduler.current_level, 6)))
    assert found == [(False, 0.5), (False, 0.6), (False, 0.6), (True, 0.7)]


def test_one_of_them_may_move_within_an_epoch() -> None:
    moving = ScheduleConfig(
        schedule=Polynomial(init=0.0, target=0.8, duration=4, power=1),
        per_optimizer_step=True,
        steps_per_epoch=2,
    )
    scheduler, applied = side_by_side(ScheduleConfig(schedule=Baseline(0.5)), moving)
    scheduler.epoch_step()
    scheduler.step()
    scheduler.step()
    assert applied == [[0.5, 0.0], [0.5, pytest.approx(0.1)], [0.5, pytest.approx(0.2)]]


def test_each_is_told_how_the_metric_held_and_each_is_disabled() -> None:
    rising = ScheduleConfig(schedule=Adaptive(init=0.1, target=0.2, patience=1))
    scheduler, applied = side_by_side(rising, rising)
    scheduler.epoch_step()
    scheduler.observe(True)
    scheduler.epoch_step()
    scheduler.disable()
    scheduler.observe(True)
    scheduler.epoch_step()
    assert applied == [[0.1, 0.1], [pytest.approx(0.15), pytest.approx(0.15)]]


def test_their_state_is_where_each_stands() -> None:
    configs = (MULTISTEP, ScheduleConfig(schedule=Baseline(0.5, delay=2)))
    walked, _ = side_by_side(*configs)
    walked.epoch_step()
    walked.epoch_step()
    fresh, applied = side_by_side(*configs)
    fresh.load_state_dict(walked.state_dict())
    assert applied == []
    assert fresh.current_level == walked.current_level
    fresh.epoch_step()
    assert applied == [[0.2, 0.5]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_combined_rate_is_at_least_each_of_them_and_at_most_all(rates: list[float]) -> None:
    assert max(rates) - 1e-12 <= combined(rates) <= 1
    assert combined(rates[:1]) == rates[0]
