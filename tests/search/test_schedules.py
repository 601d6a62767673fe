"""The schedules against their formulas, and the scheduler that walks them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.errors import UsageError
from accaware.search.schedules.scheduler import CompressionScheduler
from accaware.search.schedules.schedules import (
    ADAPTIVE_STEP,
    Adaptive,
    Baseline,
    Exponential,
    ExponentialWithBias,
    MultiStep,
    Polynomial,
    Schedule,
)

levels = st.floats(0, 1)
durations = st.integers(0, 50)
delays = st.integers(0, 5)


@st.composite
def rising(draw: st.DrawFn, share: float = 1.0) -> tuple[float, float]:
    """An initial level and a target; the first at most ``share`` of the second."""
    target = draw(st.floats(0.01, 1))
    return draw(st.floats(0, share)) * target, target


@st.composite
def multisteps(draw: st.DrawFn) -> MultiStep:
    steps = sorted(draw(st.sets(st.integers(1, 40), max_size=5)))
    size = len(steps) + 1
    rates = sorted(draw(st.lists(levels, min_size=size, max_size=size)))
    return MultiStep(tuple(steps), tuple(rates))


schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(Baseline, levels, delays),
    st.builds(lambda ends, *rest: Exponential(*ends, *rest), rising(), durations, delays),
    st.builds(
        lambda ends, *rest: ExponentialWithBias(*ends, *rest), rising(0.74), durations, delays
    ),
    st.builds(
        lambda ends, *rest: Polynomial(*ends, *rest),
        rising(),
        durations,
        st.floats(0.1, 5),
        st.booleans(),
    ),
    multisteps(),
)


@given(schedules)
def test_every_schedule_rises_within_bounds_and_ends_at_its_target(schedule: Schedule) -> None:
    epochs = schedule.epochs_to_target
    assert epochs is not None
    moments = [moment / 4 for moment in range(4 * (epochs + 3))]
    walked = [schedule.level(moment) for moment in moments]
    assert all(0 <= level <= schedule.target for level in walked)
    assert all(after >= before - 1e-12 for before, after in pairwise(walked))
    assert schedule.level(epochs - 1) == schedule.target
    assert schedule.level(epochs + 1000) == schedule.target


@given(schedules)
def test_epochs_to_target_is_no_more_than_needed(schedule: Schedule) -> None:
    epochs = schedule.epochs_to_target
    assert epochs is not None
    if epochs > 1 and schedule.target - schedule.level(0) > 1e-6:
        before = schedule.level(epochs - 2)
        assert before < schedule.target or math.isclose(before, schedule.target, rel_tol=1e-9)


# Pruning --------------------------------------------------------------------------------


def test_baseline_is_nothing_and_then_all() -> None:
    schedule = Baseline(0.6, delay=2)
    assert [schedule.level(epoch) for epoch in range(4)] == [0, 0, 0.6, 0.6]
    assert schedule.epochs_to_target == 3


@given(rising(), st.integers(1, 50), delays, st.integers(0, 60))
def test_exponential_follows_its_formula(
    ends: tuple[float, float], duration: int, delay: int, epoch: int
) -> None:
    init, target = ends
    level = Exponential(init, target, duration, delay).level(epoch)
    if epoch < delay:
        assert level == 0
    elif init < 1:
        i = min(epoch - delay, duration)
        formula = 1 - (1 - init) * ((1 - target) / (1 - init)) ** (i / duration)
        assert level == pytest.approx(min(formula, target), abs=1e-9)


def test_exponential_by_hand() -> None:
    schedule = Exponential(init=0.0, target=0.75, duration=2)
    assert [schedule.level(epoch) for epoch in range(4)] == [0, 0.5, 0.75, 0.75]
    assert schedule.epochs_to_target == 3


@given(rising())
def test_exponential_starts_at_exactly_its_initial_level(ends: tuple[float, float]) -> None:
    init, target = ends
    assert Exponential(init, target, 10).level(0) == init


@pytest.mark.parametrize("kind", [Exponential, ExponentialWithBias])
def test_a_schedule_of_one_step_is_at_its_target_at_once(
    kind: Callable[..., Schedule],
) -> None:
    schedule = kind(0.1, 0.5, 0, 2)
    assert [schedule.level(epoch) for epoch in range(4)] == [0, 0, 0.5, 0.5]
    assert schedule.epochs_to_target == 3


@pytest.mark.parametrize("kind", [Exponential, ExponentialWithBias, Polynomial])
def test_a_schedule_with_nowhere_to_go_stays_at_its_target(kind: Callable[..., Schedule]) -> None:
    for level in (0.0, 0.5, 1.0):
        assert {kind(level, level, 8).level(epoch) for epoch in range(10)} == {level}


@given(rising(0.74), st.sampled_from([8, 16, 80]), delays)
def test_exponential_with_bias_passes_its_three_points(
    ends: tuple[float, float], duration: int, delay: int
) -> None:
    init, target = ends
    schedule = ExponentialWithBias(init, target, duration, delay)
    assert schedule.level(delay) == pytest.approx(init, abs=1e-9)
    assert schedule.level(delay + duration // 8) == pytest.approx(0.75 * target, abs=1e-9)
    assert schedule.level(delay + duration) == target


def test_exponential_with_bias_is_an_exponential_with_a_bias() -> None:
    schedule = ExponentialWithBias(init=0.1, target=0.6, duration=24)
    found = [schedule.level(epoch) for epoch in range(25)]
    gains = [after - before for before, after in pairwise(found)]
    ratios = [after / before for before, after in pairwise(gains)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert 0 < ratios[0] < 1


@pytest.mark.parametrize(("init", "target"), [(0.75, 1.0), (0.4, 0.5), (0.6, 0.5)])
def test_exponential_with_bias_refuses_what_no_such_curve_passes(
    init: float, target: float
) -> None:
    with pytest.raises(UsageError, match="three quarters"):
        ExponentialWithBias(init, target, 10)


# Sparsity -------------------------------------------------------------------------------


@given(rising(), st.integers(1, 50), st.floats(0.1, 5), st.booleans(), st.integers(0, 60))
def test_polynomial_follows_its_formula(
    ends: tuple[float, float], duration: int, power: float, concave: bool, epoch: int
) -> None:
    init, target = ends
    q = min(1.0, epoch / duration)
    formula = (
        target - (target - init) * (1 - q) ** power
        if concave
        else init + (target - init) * q**power
    )
    level = Polynomial(init, target, duration, power, concave).level(epoch)
    assert level == pytest.approx(formula, abs=1e-9)


def test_polynomial_by_hand() -> None:
    concave = Polynomial(init=0.0, target=0.8, duration=4, power=2)
    assert [concave.level(epoch) for epoch in (0, 2, 4, 9)] == pytest.approx([0, 0.6, 0.8, 0.8])
    convex = Polynomial(init=0.0, target=0.8, duration=4, power=2, concave=False)
    assert [convex.level(epoch) for epoch in (0, 2, 4, 9)] == pytest.approx([0, 0.2, 0.8, 0.8])


def test_polynomial_without_a_duration_is_at_its_target_at_once() -> None:
    assert Polynomial(init=0.1, target=0.5, duration=0).level(0) == 0.5


def test_multistep_is_piecewise_constant() -> None:
    schedule = MultiStep(steps=(2, 5), levels=(0.1, 0.3, 0.5))
    assert [schedule.level(epoch) for epoch in range(7)] == [0.1, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5]
    assert schedule.target == 0.5
    assert schedule.epochs_to_target == 6


def test_multistep_without_steps_has_one_level() -> None:
    schedule = MultiStep(steps=(), levels=(0.4,))
    assert schedule.level(0) == 0.4
    assert schedule.epochs_to_target == 1


def test_adaptive_rises_by_one_step_at_a_time_up_to_its_target() -> None:
    schedule = Adaptive(init=0.1, target=0.22)
    assert [schedule.level(rises) for rises in range(5)] == [0.1, 0.15, 0.2, 0.22, 0.22]
    assert schedule.epochs_to_target is None


# The scheduler --------------------------------------------------------------------------


def walk(schedule: Schedule, epochs: int, **options: int | bool) -> tuple[list[float], list[float]]:
    """The level of each epoch, and what was put on the model."""
    applied: list[float] = []
    scheduler = CompressionScheduler(schedule, applied.append, **options)  # type: ignore[arg-type]
    found = []
    for _ in range(epochs):
        scheduler.epoch_step()
        found.append(scheduler.current_level)
    return found, applied


def test_the_scheduler_puts_the_first_level_on_the_model_and_each_that_differs() -> None:
    found, applied = walk(MultiStep(steps=(1, 3), levels=(0.0, 0.2, 0.4)), 5)
    assert found == [0.0, 0.2, 0.2, 0.4, 0.4]
    assert applied == [0.0, 0.2, 0.4]


def test_full_compression_is_reached_with_the_target() -> None:
    scheduler = CompressionScheduler(Baseline(0.5, delay=1), lambda level: None)
    assert not scheduler.fully_compressed
    scheduler.epoch_step()
    assert not scheduler.fully_compressed
    scheduler.epoch_step()
    assert scheduler.fully_compressed
    assert scheduler.target == 0.5


def test_the_scheduler_can_enter_a_given_epoch() -> None:
    scheduler = CompressionScheduler(MultiStep((3,), (0.1, 0.5)), lambda level: None)
    scheduler.epoch_step(next_epoch=3)
    assert (scheduler.current_epoch, scheduler.current_level) == (3, 0.5)
    scheduler.epoch_step()
    assert scheduler.current_epoch == 4


def linear(duration: int) -> Polynomial:
    return Polynomial(init=0.0, target=0.8, duration=duration, power=1)


def within_epochs(epochs: int, steps: int, **options: int | bool) -> list[list[float]]:
    """For each epoch the level at its start and after each optimizer step."""
    scheduler = CompressionScheduler(linear(4), lambda level: None, **options)  # type: ignore[arg-type]
    walked = []
    for _ in range(epochs):
        scheduler.epoch_step()
        levels_in_epoch = [scheduler.current_level]
        for _ in range(steps):
            scheduler.step()
            levels_in_epoch.append(scheduler.current_level)
        walked.append(levels_in_epoch)
    return walked


def test_per_optimizer_step_moves_within_the_epoch() -> None:
    walked = within_epochs(5, 2, per_optimizer_step=True, steps_per_epoch=2)
    assert walked[0] == pytest.approx([0.0, 0.1, 0.2])
    assert walked[1] == pytest.approx([0.2, 0.3, 0.4])
    assert walked[4] == [0.8, 0.8, 0.8]


def test_steps_per_epoch_are_counted_in_the_first_epoch_where_not_given() -> None:
    walked = within_epochs(2, 2, per_optimizer_step=True)
    assert walked[0] == [0.0, 0.0, 0.0]
    assert walked[1] == pytest.approx([0.2, 0.3, 0.4])


def test_more_steps_than_announced_do_not_run_into_the_next_epoch() -> None:
    walked = within_epochs(1, 4, per_optimizer_step=True, steps_per_epoch=2)
    assert walked[0] == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.2])


def test_optimizer_steps_move_nothing_where_not_asked() -> None:
    assert within_epochs(2, 2) == [[0.0] * 3, [pytest.approx(0.2)] * 3]


def test_a_frozen_schedule_stays_where_it_is() -> None:
    found, _ = walk(linear(4), 6, freeze_epoch=2)
    assert found == pytest.approx([0.0, 0.2, 0.2, 0.2, 0.2, 0.2])


def test_a_disabled_scheduler_leaves_the_model_alone() -> None:
    applied: list[float] = []
    scheduler = CompressionScheduler(
        linear(4), applied.append, per_optimizer_step=True, steps_per_epoch=2
    )
    scheduler.epoch_step()
    scheduler.epoch_step()
    scheduler.disable()
    scheduler.step()
    scheduler.epoch_step()
    assert applied == pytest.approx([0.0, 0.2])


def adaptive_levels(patience: int, verdicts: list[bool]) -> list[float]:
    scheduler = CompressionScheduler(
        Adaptive(init=0.1, target=0.3, patience=patience), lambda level: None
    )
    found = []
    for held in verdicts:
        scheduler.epoch_step()
        found.append(scheduler.current_level)
        scheduler.observe(held)
    return found


def test_the_adaptive_level_rises_each_time_the_metric_held() -> None:
    assert ADAPTIVE_STEP == 0.05
    assert adaptive_levels(1, [True] * 6) == [0.1, 0.15, 0.2, 0.25, 0.3, 0.3]


def test_the_adaptive_level_waits_for_as_many_as_patience_in_a_row() -> None:
    verdicts = [True, True, True, False, True, True, True]
    assert adaptive_levels(2, verdicts) == [0.1, 0.1, 0.15, 0.15, 0.15, 0.15, 0.2]


def test_observations_move_no_other_schedule() -> None:
    scheduler = CompressionScheduler(Baseline(0.5, delay=3), lambda level: None)
    scheduler.epoch_step()
    scheduler.observe(True)
    scheduler.epoch_step()
    assert scheduler.current_level == 0
