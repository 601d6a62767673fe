"""The outcome under NNCF's names."""

from __future__ import annotations

import math

import pytest

from accaware.search import TrainingLoopStatistics
from tests.runners.fake import holds_up_to, search


def test_the_numbers_of_a_model_within_budget() -> None:
    statistics = search(lambda rate, age: 0.8 - rate / 10, baseline=0.8).run().loop.statistics
    assert statistics.uncompressed_accuracy == 0.8
    assert statistics.compression_rate == 0.95
    assert statistics.compressed_accuracy == pytest.approx(0.705)
    assert statistics.absolute_accuracy_degradation == pytest.approx(0.095)
    assert statistics.relative_accuracy_degradation == pytest.approx(11.875)
    assert statistics.accuracy_budget == pytest.approx(0.005)


def test_degradations_are_losses_where_lower_is_better_too() -> None:
    run = search(lambda rate, age: 2 + rate / 10, baseline=2.0, higher_is_better=False).run()
    statistics = run.loop.statistics
    assert statistics.absolute_accuracy_degradation == pytest.approx(0.095)
    assert statistics.accuracy_budget == pytest.approx(0.005)


def test_beyond_the_budget_what_is_left_of_it_is_negative() -> None:
    statistics = search(lambda rate, age: 0.5).run().loop.statistics
    assert statistics.accuracy_budget == pytest.approx(-0.4)


def test_where_nothing_was_judged_the_baseline_model_is_told() -> None:
    statistics = search(lambda rate, age: math.nan).run().loop.statistics
    assert statistics == TrainingLoopStatistics(
        uncompressed_accuracy=1.0,
        compression_rate=0.0,
        compressed_accuracy=None,
        absolute_accuracy_degradation=None,
        relative_accuracy_degradation=None,
        accuracy_budget=None,
    )


def test_a_baseline_of_zero_has_no_relative_degradation() -> None:
    statistics = search(lambda rate, age: -0.05, baseline=0.0).run().loop.statistics
    assert statistics.relative_accuracy_degradation is None
    assert statistics.absolute_accuracy_degradation == 0.05


def test_as_text_each_number_has_a_line() -> None:
    lines = search(holds_up_to(0.55)).run().loop.statistics.to_str().splitlines()
    assert lines == [
        "Uncompressed accuracy: 1",
        "Compression rate: 0.55",
        "Compressed accuracy: 1",
        "Absolute accuracy degradation: 0",
        "Relative accuracy degradation, %: 0",
        "Accuracy budget left: 0.1",
    ]


def test_as_text_what_is_missing_is_a_dash() -> None:
    lines = search(lambda rate, age: math.nan).run().loop.statistics.to_str().splitlines()
    assert lines[2] == "Compressed accuracy: -"
