"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from accaware.report.formatting import (
    MetricText,
    counted,
    duration,
    percent,
    quantity,
    ratio,
    short_time,
    speedup,
)
from accaware.search.budget import AccuracyBudget


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (4800, "", "4800"),
        (9999, "", "9999"),
        (10_000, "", "10 k"),
        (26_560, "", "26.6 k"),
        (11_172_810, "", "11.2 M"),
        (999_499, "", "999 k"),
        (999_950, "", "1 M"),
        (1_820_000_000, "FLOPs", "1.82 GFLOPs"),
        (512, "FLOPs", "512 FLOPs"),
        (44_800_000, "B", "44.8 MB"),
        (4100, "B", "4.1 kB"),
        (3 * 10**18, "FLOPs", "3e+03 PFLOPs"),
    ],
)
def test_quantities(value: int, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("dense", "compressed", "text"),
    [
        (100, 17, "5.9x smaller"),
        (100, 99, "1.01x smaller"),
        (100, 100, "the same"),
        (100, 104, "1.04x larger"),
        (0, 0, "the same"),
        (100, 0, "-"),
    ],
)
def test_ratios(dense: int, compressed: int, text: str) -> None:
    assert ratio(dense, compressed) == text


@pytest.mark.parametrize(
    ("dense", "compressed", "text"),
    [
        (4.0, 1.0, "4.00x faster"),
        (1.0, 1.0, "1.00x faster"),
        (1.0, 1.2, "1.20x slower"),
        (0, 1, "-"),
    ],
)
def test_speedups(dense: float, compressed: float, text: str) -> None:
    assert speedup(dense, compressed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (2.14e-4, "214 us"),
        (0.99949e-3, "999 us"),
        (0.9996e-3, "1 ms"),
        (4.41e-3, "4.41 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
    ],
)
def test_short_times(seconds: float | None, text: str) -> None:
    assert short_time(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates_have_one_decimal() -> None:
    assert [percent(rate) for rate in (0, 0.8034, 1)] == ["0.0 %", "80.3 %", "100.0 %"]


def test_nouns_are_counted() -> None:
    assert [counted(number, "epoch") for number in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]


@pytest.mark.parametrize(
    ("baseline", "text"),
    [
        (0.97222, "0.9722"),
        (1.0, "1.0000"),
        (93.456, "93.46"),
        (-93.456, "-93.46"),
        (12345.6, "12346"),
        (0.0031234, "0.003123"),
        (0.0, "0.0000"),
    ],
)
def test_a_baseline_has_four_digits(baseline: float, text: str) -> None:
    assert MetricText(AccuracyBudget(baseline, 1)).value(baseline) == text


def test_metrics_of_a_run_share_their_decimals() -> None:
    metric = MetricText(AccuracyBudget(93.456, 1))
    assert [metric.value(value) for value in (5, 100, 0)] == ["5.00", "100.00", "0.00"]


def test_a_small_loss_is_no_false_zero() -> None:
    metric = MetricText(AccuracyBudget(0.9, 0.01))
    assert metric.margin(0.89 - 1e-6) == "-1.0e-06"
    assert metric.drop(0.9) == "0.0000 (0.0 %)"


def test_no_metric_and_no_number() -> None:
    metric = MetricText(AccuracyBudget(0.9, 0.01))
    assert [metric.value(None), metric.drop(None), metric.margin(None)] == ["-", "-", "-"]
    assert [metric.value(math.nan), metric.drop(math.nan)] == ["nan", "-"]
    assert metric.margin(math.inf) == "-"


@pytest.mark.parametrize(
    ("baseline", "higher_is_better", "value", "drop", "margin"),
    [
        (0.8, True, 0.7, "0.1000 (12.5 %)", "-0.0500"),
        (0.8, True, 0.84, "-0.0400 (-5.0 %)", "0.0900"),
        (0.8, False, 0.84, "0.0400 (5.0 %)", "0.0100"),
        (-0.8, True, -0.9, "0.1000 (12.5 %)", "-0.0500"),
        (0.0, False, 0.04, "0.0400", "0.0100"),
    ],
)
def test_drop_and_margin(
    baseline: float, higher_is_better: bool, value: float, drop: str, margin: str
) -> None:
    metric = MetricText(AccuracyBudget(baseline, 0.05, higher_is_better))
    assert (metric.drop(value), metric.margin(value)) == (drop, margin)
