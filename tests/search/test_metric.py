"""A metric with its samples, and what it says beside the dense model's."""

from __future__ import annotations

import copy
import math
import pickle
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accaware import Metric
from accaware.errors import PluginContractError
from accaware.search.metric import BaselineMetric, DenseReference, Measurement

answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


def accuracy(right: list[bool], scale: float) -> Metric:
    return Metric(scale * sum(right) / len(right), per_sample=right)


@given(answers, st.sampled_from([1.0, 100.0]))
def test_the_standard_error_is_that_of_paired_differences(
    pairs: list[tuple[bool, bool]], scale: float
) -> None:
    dense, compressed = ([pair[side] for pair in pairs] for side in (0, 1))
    if not any(dense):
        dense[0] = True  # of no right answer nobody can tell percent from shares
    differences = [scale * (one - other) for one, other in zip(dense, compressed, strict=True)]
    expected = statistics.stdev(differences) / math.sqrt(len(pairs))
    measured = DenseReference(accuracy(dense, scale)).measured(accuracy(compressed, scale))
    assert measured.value == scale * sum(compressed) / len(compressed)
    assert measured.standard_error == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_of_the_dense_model_it_is_the_binomial_one(right: list[bool]) -> None:
    baseline = BaselineMetric.of(accuracy(right, 1.0))
    count, share = len(right), sum(right) / len(right)
    expected = math.sqrt(share * (1 - share) / (count - 1))
    assert baseline.standard_error == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert baseline.samples == count
    assert baseline.sample_unit == pytest.approx(1 / count)


@pytest.mark.parametrize(
    "per_sample",
    [
        [1, 0, 1, 1],
        (True, False, True, True),
        np.array([1, 0, 1, 1], dtype=np.float32),
        torch.tensor([True, False, True, True]),
        torch.tensor([1.0, 0.0, 1.0, 1.0], requires_grad=True),
    ],
)
def test_it_is_a_number_that_keeps_its_samples(per_sample: object) -> None:
    metric = Metric(torch.tensor(75.0), per_sample=per_sample)
    for same in (metric, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert same == 75
        assert list(same.per_sample) == [1, 0, 1, 1]
        assert same.scale == 100
    assert BaselineMetric.of(metric).sample_unit == 25


def test_a_rounded_value_is_still_the_mean() -> None:
    assert Metric(66.67, per_sample=[1, 1, 0]).scale == 100
    assert Metric(0.6667, per_sample=[1, 1, 0]).scale == 1


@pytest.mark.parametrize(
    ("value", "per_sample", "message"),
    [
        (0.5, [1, 1, 0, 1], "the value is 0.5 and the mean 0.75"),
        (7.5, [1, 1, 0, 1], "the value is 7.5 and the mean 0.75"),
        (75, [], "one finite number for each sample"),
        (75, 0.75, "one finite number for each sample"),
        (75, ["right"], "one finite number for each sample"),
        (75, [1, math.nan], "one finite number for each sample"),
        (75, torch.ones(2, 2), "one finite number for each sample"),
    ],
)
def test_what_is_no_mean_over_samples_is_refused(
    value: float, per_sample: object, message: str
) -> None:
    with pytest.raises(PluginContractError, match=message):
        Metric(value, per_sample=per_sample)


def test_what_was_right_before_on_another_scale_is_refused() -> None:
    dense = DenseReference(Metric(75, per_sample=[1, 0, 1, 1]))
    message = "100 times the mean of per_sample for the dense model; now the value is 0.5 and"
    with pytest.raises(PluginContractError, match=message):
        dense.measured(Metric(0.5, per_sample=[1, 0, 1, 0]))


def test_of_zeros_alone_the_scale_is_not_known() -> None:
    """As of the errors of a model that makes none."""
    for value, scale in ((50.0, 100), (0.5, 1)):
        dense = DenseReference(Metric(0, per_sample=[0, 0, 0, 0]))
        measured = dense.measured(Metric(value, per_sample=[1, 0, 0, 1]))
        expected = scale * statistics.stdev([1, 0, 0, 1]) / 2
        assert measured.standard_error == pytest.approx(expected)


def test_without_pairs_nothing_is_known() -> None:
    samples = Metric(75, per_sample=[1, 0, 1, 1])
    assert DenseReference(samples).measured(50.0) == Measurement(50.0)
    assert DenseReference(75.0).measured(samples) == Measurement(75.0)
    assert DenseReference(samples).measured(Metric(50, per_sample=[1, 0])) == Measurement(50.0)
    no_number = DenseReference(samples).measured(Metric(math.nan, per_sample=[1, 0, 1, 1]))
    assert math.isnan(no_number.value)
    assert no_number.standard_error is None
    assert Measurement.of_recorded(Measurement(50.0).recorded) == Measurement(50.0)
    assert BaselineMetric.of(75.0) == BaselineMetric(75.0) == BaselineMetric.of_recorded(75.0)


def test_errors_of_samples_count_no_samples() -> None:
    metric = Metric(0.25, per_sample=[0.1, 0.4, 0.2, 0.3])
    assert BaselineMetric.of(metric).samples == 4
    assert BaselineMetric.of(metric).sample_unit is None
    expected = statistics.stdev([0.1, 0.4, 0.2, 0.3]) / 2
    assert BaselineMetric.of(metric).standard_error == pytest.approx(expected)
    worse = DenseReference(metric).measured(Metric(0.35, per_sample=[0.2, 0.5, 0.3, 0.4]))
    assert worse.standard_error == pytest.approx(0, abs=1e-12)


def test_the_samples_come_back_from_a_state() -> None:
    dense = DenseReference(Metric(75, per_sample=[1, 0, 1, 1]))
    again = DenseReference()
    again.load_state_dict(dense.state_dict())
    compressed = Metric(50, per_sample=[1, 0, 0, 1])
    assert again.measured(compressed) == dense.measured(compressed)
    again.load_state_dict(DenseReference(75.0).state_dict())
    assert again.measured(compressed).standard_error is None
