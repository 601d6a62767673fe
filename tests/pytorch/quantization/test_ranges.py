"""One contract for every way to find a range, and what each one means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accaware.pytorch.quantization.ranges import RangeEstimator, estimator_of
from accaware.pytorch.quantization.settings import RangeSettings

TYPES = (
    "mixed_min_max",
    "min_max",
    "mean_min_max",
    "threesigma",
    "percentile",
    "mean_percentile",
)


def estimator(
    kind: str, min_percentile: float = 0.1, max_percentile: float = 99.9
) -> RangeEstimator:
    return estimator_of(
        RangeSettings(
            type=kind, samples=2, min_percentile=min_percentile, max_percentile=max_percentile
        )
    )


@pytest.mark.parametrize("kind", TYPES)
@given(seed=st.integers(0, 999), offset=st.sampled_from([-5.0, 0.0, 5.0]))
def test_a_range_is_within_the_values_that_were_seen(kind: str, seed: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = [torch.randn(3, 2, 4, 4, generator=generator) + offset for _ in range(2)]
    found = estimator(kind)
    for batch in batches:
        found.observe(batch)
    ends = found.range()
    assert ends is not None
    values = torch.cat(batches)
    assert float(values.min()) - 1e-5 <= ends[0] <= ends[1] <= float(values.max()) + 1e-5


@pytest.mark.parametrize("kind", TYPES)
def test_nothing_seen_is_no_range(kind: str) -> None:
    assert estimator(kind).range() is None


@pytest.mark.parametrize("kind", TYPES)
def test_zeros_alone_have_a_range(kind: str) -> None:
    found = estimator(kind)
    found.observe(torch.zeros(2, 3))
    assert found.range() == (0.0, 0.0)


@pytest.mark.parametrize("kind", TYPES)
def test_the_order_of_batches_makes_no_difference(kind: str) -> None:
    batches = [torch.randn(2, 5, generator=torch.Generator().manual_seed(at)) for at in range(3)]
    forwards, backwards = estimator(kind), estimator(kind)
    for batch, other in zip(batches, reversed(batches), strict=True):
        forwards.observe(batch)
        backwards.observe(other)
    assert forwards.range() == pytest.approx(backwards.range())


SAMPLES = torch.tensor([[-1.0, 0.0, 2.0], [-3.0, 1.0, 8.0]])


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        ("min_max", (-3.0, 8.0)),
        ("mean_min_max", (-2.0, 5.0)),
        ("mixed_min_max", (-2.0, 5.0)),
    ],
)
def test_extremes_and_their_means(kind: str, ends: tuple[float, float]) -> None:
    found = estimator(kind)
    found.observe(SAMPLES)
    assert found.range() == ends


def test_percentiles_leave_outliers_out() -> None:
    values = torch.linspace(0, 1, 1001)
    values[-1] = 1000.0
    found = estimator("percentile", min_percentile=1, max_percentile=99)
    found.observe(values[None])
    assert found.range() == pytest.approx((0.01, 0.99))
    each = estimator("mean_percentile", min_percentile=10, max_percentile=90)
    each.observe(torch.stack([values, values + 1]))
    assert each.range() == pytest.approx((0.6, 1.4))


def test_three_sigma_is_three_standard_deviations_of_normal_values() -> None:
    values = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    values[0] = 1000.0
    found = estimator("threesigma")
    found.observe(values[None])
    assert found.range() == pytest.approx((-3.0, 3.0), abs=0.1)


def test_three_sigma_isnt_fooled_by_a_relus_zeros() -> None:
    values = torch.randn(50_000, generator=torch.Generator().manual_seed(0)).relu()
    values[values < 0.5] = 0.0
    found = estimator("threesigma")
    found.observe(values[None])
    ends = found.range()
    assert ends is not None
    assert ends[1] > 1.5
