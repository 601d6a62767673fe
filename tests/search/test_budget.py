"""The accuracy that may be lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.errors import UsageError
from accaware.search import AccuracyBudget
from tests.runners.fake import adaptive, early_exit

numbers = st.floats(-1e6, 1e6)
tolerances = st.floats(0, 1e6)


def test_a_relative_degradation_is_a_percentage_of_the_baseline() -> None:
    budget = AccuracyBudget.from_params(adaptive(maximal_relative_accuracy_degradation=5), 0.8)
    assert (budget.tolerance, budget.minimal_tolerable) == (0.04, 0.76)


def test_an_absolute_degradation_is_in_the_metrics_own_units() -> None:
    budget = AccuracyBudget.from_params(adaptive(maximal_absolute_accuracy_degradation=1.5), 76.2)
    assert (budget.tolerance, budget.minimal_tolerable) == (1.5, 74.7)


def test_early_exit_has_the_same_two() -> None:
    params = early_exit(maximal_absolute_accuracy_degradation=0.02)
    assert AccuracyBudget.from_params(params, 0.9).minimal_tolerable == 0.88


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_negative_baseline_is_tolerated_by_its_absolute_value(higher_is_better: bool) -> None:
    params = adaptive(maximal_relative_accuracy_degradation=10)
    budget = AccuracyBudget.from_params(params, -50, higher_is_better)
    assert budget.tolerance == 5
    assert budget.minimal_tolerable == (-55 if higher_is_better else -45)


def test_lower_is_better_turns_the_limit_around() -> None:
    budget = AccuracyBudget(baseline=2.0, tolerance=0.5, higher_is_better=False)
    assert budget.minimal_tolerable == 2.5
    assert budget.admits(2.5)
    assert not budget.admits(2.51)
    assert budget.better(1.0, than=1.5)
    assert not budget.better(1.5, than=1.0)
    assert budget.absolute_degradation(2.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("baseline", "tolerance", "metric"), [(0.8, 0.1, 0.7), (0.9, 0.3, 0.6), (1.1, 1.0, 0.1)]
)
def test_exactly_the_limit_is_within_budget(
    baseline: float, tolerance: float, metric: float
) -> None:
    assert AccuracyBudget(baseline, tolerance).admits(metric)
    assert AccuracyBudget(-baseline, tolerance, higher_is_better=False).admits(-metric)
    assert not AccuracyBudget(baseline, tolerance).admits(metric - 1e-9)


def test_nothing_to_lose_admits_the_baseline_itself() -> None:
    budget = AccuracyBudget(0.9, 0.0)
    assert budget.admits(0.9)
    assert not budget.admits(0.8999)


def test_no_metric_is_no_metric_and_not_a_zero() -> None:
    budget = AccuracyBudget(baseline=-1.0, tolerance=0.5)
    assert not budget.admits(None)
    assert budget.better(-100.0, than=None)


def test_nan_is_never_within_budget() -> None:
    assert not AccuracyBudget(0.9, 1.0).admits(math.nan)
    assert not AccuracyBudget(0.9, 1.0, higher_is_better=False).admits(math.nan)


@given(numbers, tolerances, numbers)
def test_the_margin_is_negative_exactly_beyond_the_limit(
    baseline: float, tolerance: float, metric: float
) -> None:
    budget = AccuracyBudget(baseline, tolerance)
    assert budget.admits(metric) == (budget.margin(metric) >= 0)
    assert budget.admits(metric) == (metric >= budget.minimal_tolerable)
    assert budget.admits(baseline)


@given(numbers, tolerances, numbers, numbers)
def test_both_directions_mirror_each_other(
    baseline: float, tolerance: float, metric: float, other: float
) -> None:
    up = AccuracyBudget(baseline, tolerance)
    down = AccuracyBudget(-baseline, tolerance, higher_is_better=False)
    assert up.minimal_tolerable == -down.minimal_tolerable
    assert up.margin(metric) == down.margin(-metric)
    assert up.better(metric, other) == down.better(-metric, -other)
    assert up.absolute_degradation(metric) == down.absolute_degradation(-metric)
    assert up.relative_degradation(metric) == down.relative_degradation(-metric)


def test_the_relative_degradation_is_in_percent() -> None:
    assert AccuracyBudget(0.8, 0.1).relative_degradation(0.6) == pytest.approx(25)
    assert AccuracyBudget(0.8, 0.1).relative_degradation(0.88) == pytest.approx(-10)
    assert AccuracyBudget(0.0, 0.1).relative_degradation(0.1) is None


@pytest.mark.parametrize("baseline", [math.nan, math.inf, -math.inf])
def test_a_baseline_that_is_no_number_is_refused(baseline: float) -> None:
    with pytest.raises(UsageError, match="baseline"):
        AccuracyBudget(baseline, 0.1)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf])
def test_a_tolerance_that_is_no_positive_number_is_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="degradation"):
        AccuracyBudget(0.9, tolerance)


@pytest.mark.parametrize("value", [None, 1.0])
def test_exactly_one_degradation_is_needed(value: float | None) -> None:
    params = early_exit(
        maximal_absolute_accuracy_degradation=value, maximal_relative_accuracy_degradation=value
    )
    with pytest.raises(UsageError, match="exactly one"):
        AccuracyBudget.from_params(params, 0.9)
