"""Convolutions without zeros and in strips are torch's convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accaware.pytorch.trials import convolution

small = st.integers(1, 2)


@given(
    dims=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.integers(1, 3),
    stride=st.one_of(small, st.just([1]), st.just((2,))),
    padding=st.integers(0, 2),
    dilation=small,
    with_bias=st.booleans(),
    zeros=st.tuples(*[st.sampled_from([None, slice(None, None, 2), slice(None)])] * 3),
    at_once=st.sampled_from([40, 400, 2**22]),
)
def test_it_is_the_same_convolution(
    dims: int, channels: tuple[int, int], kernel: int, stride: object, padding: int,
    dilation: int, with_bias: bool, zeros: tuple[slice | None, ...], at_once: int,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    reads, makes = channels
    inputs = torch.randn(2, reads, *range(6, 6 + dims), dtype=torch.float64)
    weight = torch.randn(makes, reads, *[kernel] * dims, dtype=torch.float64)
    bias = torch.randn(makes, dtype=torch.float64) if with_bias else None
    if zeros[0] is not None:
        inputs[:, zeros[0]] = 0
    if zeros[1] is not None:
        weight[zeros[1]] = 0
    if zeros[2] is not None:
        weight[:, zeros[2]] = 0
    function = getattr(torch, f"conv{dims}d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_AT_ONCE", at_once)
        got = convolution.convolve(
            function, (inputs, weight, bias, stride), {"padding": padding, "dilation": dilation}
        )
    wanted = function(inputs, weight, bias, stride, padding, dilation)
    torch.testing.assert_close(got, wanted)


def test_what_is_no_slow_convolution_is_left_to_torch() -> None:
    inputs, weight = torch.randn(1, 4, 6, 6), torch.randn(4, 4, 3, 3)
    assert convolution.convolve(torch.conv2d, (inputs, weight), {}) is None
    assert convolution.convolve(torch.matmul, (inputs.double(), weight.double()), {}) is None
    in_groups = (inputs.double(), weight[:, :2].double())
    assert convolution.convolve(torch.conv2d, in_groups, {"groups": 2}) is None
