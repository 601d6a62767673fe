"""What must hold for every tensor that is quantized."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from accaware.errors import UsageError
from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

BITS = st.integers(2, 8)
SEEDS = st.integers(0, 2**16)
SCALES = st.sampled_from([1e-12, 1e-3, 1.0, 1e4])


def weight_of(seed: int, scale: float, sparsity: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 4, 3, 3, generator=generator) * scale
    weight *= torch.rand(6, 1, 1, 1, generator=generator)  # channels of different sizes
    return weight * (torch.rand(weight.shape, generator=generator) >= sparsity)


def quantizers(bits: int) -> list[WeightQuantizer]:
    return [
        WeightQuantizer.of(bits, symmetric=symmetric, axis=axis, half_range=half)
        for symmetric in (True, False)
        for axis in (0, 1, None)
        for half in ((False, True) if bits == 8 else (False,))
    ]


@given(BITS, SEEDS, SCALES)
def test_a_quantized_weight_is_its_integers_times_their_scale(
    bits: int, seed: int, scale: float
) -> None:
    weight = weight_of(seed, scale)
    for quantizer in quantizers(bits):
        quantized, integers = quantizer(weight), quantizer.integers(weight)
        shape = [1, 1, 1, 1]
        if quantizer.axis is not None:
            shape[quantizer.axis] = -1
        difference = integers.values.int() - integers.zero_point.int().view(shape)
        torch.testing.assert_close(quantized, difference * integers.scale.view(shape))
        assert quantizer.low <= int(integers.values.min())
        assert int(integers.values.max()) <= quantizer.high
        assert integers.values.unique().numel() <= 2**bits


@given(BITS, SEEDS)
def test_zero_stays_exactly_zero(bits: int, seed: int) -> None:
    weight = weight_of(seed, 1.0)
    for quantizer in quantizers(bits):
        assert (quantizer(weight)[weight == 0] == 0).all()


@given(SEEDS, SCALES)
def test_eight_bits_are_never_further_off_than_half_a_step(seed: int, scale: float) -> None:
    weight = weight_of(seed, scale)
    for quantizer in quantizers(8):
        steps, _ = quantizer.parameters(weight)
        if quantizer.axis is not None:
            steps = steps.view([-1 if dim == quantizer.axis else 1 for dim in range(4)])
        assert ((quantizer(weight) - weight).abs() <= 0.5001 * steps).all()


@given(BITS, SEEDS)
def test_a_symmetric_weight_and_its_negative_round_alike(bits: int, seed: int) -> None:
    weight = weight_of(seed, 1.0)
    for quantizer in quantizers(bits):
        if quantizer.symmetric:
            assert torch.equal(quantizer(-weight), -quantizer(weight))
            assert quantizer.low == -quantizer.high


def test_a_weight_of_zeros_stays_one() -> None:
    for quantizer in quantizers(4):
        assert torch.equal(quantizer(torch.zeros(6, 4, 3, 3)), torch.zeros(6, 4, 3, 3))


def test_few_bits_dont_leave_all_but_the_largest_weights_at_zero() -> None:
    weight = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    weight[0, 0] = 40.0
    quantized = WeightQuantizer.of(2, symmetric=True, axis=0, half_range=False)(weight)
    assert (quantized != 0).float().mean() > 0.3


def test_a_channels_range_is_its_own() -> None:
    weight = torch.tensor([[1.0, 0.5], [100.0, 50.0]])
    quantizer = WeightQuantizer.of(8, symmetric=True, axis=0, half_range=False)
    assert torch.equal(quantizer.integers(weight).values[:, 0], torch.full((2,), 127).char())
    whole = WeightQuantizer.of(8, symmetric=True, axis=None, half_range=False)
    assert whole.integers(weight).values[0, 0] == 1


def test_half_of_the_range_keeps_one_bit_free() -> None:
    weight = weight_of(0, 1.0)
    integers = WeightQuantizer.of(8, symmetric=True, axis=0, half_range=True).integers(weight)
    assert int(integers.values.abs().max()) == 63


def test_fixed_scales_dont_follow_the_weight() -> None:
    quantizer = WeightQuantizer.of(4, symmetric=True, axis=0, half_range=False)
    weight = weight_of(1, 1.0)
    quantized, integers = quantizer(weight), quantizer.integers(weight)
    zero_point = integers.zero_point.to(torch.int32)
    fixed = replace(quantizer, scale=integers.scale, zero_point=zero_point)
    torch.testing.assert_close(fixed(quantized), quantized)


def test_the_gradient_passes_as_if_nothing_were_quantized() -> None:
    weight = weight_of(2, 1.0).requires_grad_()
    WeightQuantizer.of(8, symmetric=True, axis=0, half_range=False)(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


@given(BITS, st.floats(-100, 0), st.floats(0, 100), st.booleans())
def test_an_activations_range_covers_what_was_measured_and_has_zero(
    bits: int, least: float, most: float, symmetric: bool
) -> None:
    quantizer = ActivationQuantizer("layer", "input", bits, symmetric)
    quantizer.fit(least, most)
    assert quantizer.range is not None
    assert quantizer.scale is not None
    low, high = quantizer.range
    # The zero point is an integer, so an asymmetric range may be off by half a step.
    assert low <= least + 0.5001 * quantizer.scale
    assert high >= most - 0.5001 * quantizer.scale
    assert quantizer(torch.zeros(3)).eq(0).all()
    values = torch.linspace(least, most, 1000)
    assert (quantizer(values) - values).abs().max() <= 1.001 * quantizer.scale


def test_what_is_never_negative_has_no_sign() -> None:
    quantizer = ActivationQuantizer("layer", "input", 8, symmetric=True)
    quantizer.fit(0.0, 2.55)
    assert (quantizer.low, quantizer.high, quantizer.zero_point) == (0, 255, 0)
    assert quantizer.scale == pytest.approx(0.01)
    signed = ActivationQuantizer("layer", "input", 8, symmetric=True, signed=True)
    signed.fit(0.0, 2.54)
    assert (signed.low, signed.high) == (-128, 127)
    assert signed.scale == pytest.approx(0.02)


def test_gradients_stop_at_the_ends_of_an_activations_range() -> None:
    quantizer = ActivationQuantizer("layer", "input", 8, symmetric=True)
    quantizer.fit(-1.0, 1.0)
    values = torch.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
    quantizer(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 0]


def test_a_range_that_was_never_measured_is_an_error() -> None:
    with pytest.raises(UsageError, match="the activations at layer1 output was never measured"):
        ActivationQuantizer("layer1", "output", 8, symmetric=True)(torch.zeros(1))
