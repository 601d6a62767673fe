"""Layers without their zeros, and convolutions in strips, are torch's layers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from accaware.pytorch.channels.trials import products

small = st.integers(1, 2)
zeros = st.sampled_from([None, slice(1, None, 2), slice(None)])
zeros_of_some = st.sampled_from([None, slice(1, None, 2)])


def kept_of(weight: Tensor, gone: dict[int, slice | None]) -> dict[int, Tensor]:
    """Zero what is gone, and say what isn't."""
    kept: dict[int, Tensor] = {}
    for dim, rows in gone.items():
        if rows is not None:
            stays = torch.ones(weight.shape[dim], dtype=torch.bool)
            stays[rows] = False
            weight.movedim(dim, 0)[~stays] = 0
            kept[dim] = stays.nonzero().flatten()
    return kept


@given(
    dims=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.integers(1, 3),
    stride=st.one_of(small, st.just([1]), st.just((2,))),
    padding=st.integers(0, 2),
    dilation=small,
    with_bias=st.booleans(),
    gone=st.fixed_dictionaries({0: zeros, 1: zeros}),
    narrow=st.booleans(),
    at_once=st.sampled_from([40, 400, 2**22]),
)
def test_it_is_the_same_convolution(
    dims: int, channels: tuple[int, int], kernel: int, stride: object, padding: int,
    dilation: int, with_bias: bool, gone: dict[int, slice | None], narrow: bool, at_once: int,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    reads, makes = channels
    inputs = torch.randn(2, reads, *range(6, 6 + dims), dtype=torch.float64)
    weight = torch.randn(makes, reads, *[kernel] * dims)
    bias = torch.randn(makes, dtype=torch.float64) if with_bias else None
    kept = kept_of(weight, gone)
    function = getattr(torch, f"conv{dims}d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_AT_ONCE", at_once)
        got = products.multiply(
            function,
            (inputs, weight if narrow else weight.double(), bias, stride),
            {"padding": padding, "dilation": dilation},
            kept,
        )
    wanted = function(inputs, weight.double(), bias, stride, padding, dilation)
    if (dims == 2 or kept) and all(len(positions) for positions in kept.values()):
        assert got is not None
        torch.testing.assert_close(got, wanted)
    else:
        assert got is None


@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    features=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    with_bias=st.booleans(),
    gone=st.fixed_dictionaries({0: zeros_of_some, 1: zeros_of_some}).filter(
        lambda each: any(each.values())
    ),
)
def test_it_is_the_same_linear_layer(
    shape: list[int],
    features: tuple[int, int],
    with_bias: bool,
    gone: dict[int, slice | None],
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(*shape, features[0], dtype=torch.float64)
    weight = torch.randn(features[1], features[0])
    bias = torch.randn(features[1]) if with_bias else None
    got = products.multiply(
        functional.linear, (inputs, weight), {"bias": bias}, kept_of(weight, gone)
    )
    assert got is not None
    wide = None if bias is None else bias.double()
    torch.testing.assert_close(got, functional.linear(inputs, weight.double(), wide))


def test_what_is_no_slow_layer_is_left_to_torch() -> None:
    inputs, weight = torch.randn(1, 4, 6, 6), torch.randn(4, 4, 3, 3)
    kept = {1: torch.arange(2)}
    assert products.multiply(torch.conv2d, (inputs, weight), {}, kept) is None
    assert products.multiply(torch.matmul, (inputs.double(), weight.double()), {}, kept) is None
    in_groups = (inputs.double(), weight[:, :2].double())
    assert products.multiply(torch.conv2d, in_groups, {"groups": 2}, {}) is None
