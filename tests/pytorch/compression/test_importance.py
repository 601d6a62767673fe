from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from accaware.pytorch.channels.layout import ChannelGroup, Slot
from accaware.pytorch.compression.pruning.importance import IMPORTANCES, channel_importances


def naive(name: str, filters: Tensor) -> list[float]:
    rows = filters.double().tolist()
    if name == "L1":
        return [sum(abs(value) for value in row) for row in rows]
    if name == "L2":
        return [sum(value**2 for value in row) ** 0.5 for row in rows]
    return [
        sum(sum((a - b) ** 2 for a, b in zip(mine, other, strict=True)) ** 0.5 for other in rows)
        for mine in rows
    ]


@pytest.mark.parametrize("name", IMPORTANCES)
@pytest.mark.parametrize("shape", [(1, 5), (7, 1), (300, 4)])
def test_against_the_definition(name: str, shape: tuple[int, int]) -> None:
    filters = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor(naive(name, filters))
    assert torch.allclose(IMPORTANCES[name](filters), expected, rtol=1e-5)


def test_geometric_median_tells_near_duplicates_apart() -> None:
    # Three filters far from zero and from the mean of all, a hair apart; the middle one is
    # nearer to the others by a part in a thousand of that hair.
    torch.manual_seed(0)
    base, far = torch.randn(2, 64).double() * 10
    steps = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None] * 1e-4
    filters = torch.cat([base + steps * torch.randn(64).double(), far[None]]).float()
    exact = torch.tensor(naive("geometric_median", filters), dtype=torch.float64)
    scores = IMPORTANCES["geometric_median"](filters).double()
    assert torch.allclose(scores, exact, rtol=1e-6)
    duplicates = IMPORTANCES["geometric_median"](base.float().repeat(600, 1))
    assert float(duplicates.abs().max()) < 1e-3


def test_geometric_median_of_a_wide_layer_is_quick() -> None:
    filters = torch.randn(1024, 512 * 9)
    IMPORTANCES["geometric_median"](filters[:64])
    start = time.process_time()
    IMPORTANCES["geometric_median"](filters)
    assert time.process_time() - start < 2


def coupled() -> tuple[ChannelGroup, dict[str, Tensor]]:
    torch.manual_seed(0)
    everything, swapped = torch.arange(3), torch.tensor([2, 0, 1])
    slots = (
        Slot("a.weight", 0, everything, everything, True, "a"),
        Slot("b.weight", 1, everything, swapped, True, "b"),  # transposed: filters in dimension 1
        Slot("c.weight", 1, everything, everything, False),
        Slot("a.bias", 0, everything, everything, True),
    )
    weights = {
        "a.weight": torch.randn(3, 2, 2),
        "b.weight": torch.randn(4, 3, 2),
        "c.weight": torch.randn(5, 3),
        "a.bias": torch.full((3,), 1e6),
    }
    return ChannelGroup("a", 3, slots, ("a", "b")), weights


def test_coupled_filters_add_up_and_readers_do_not_count() -> None:
    group, weights = coupled()
    (scores,) = channel_importances([group], weights, "L1", comparable=False)
    first = weights["a.weight"].abs().sum((1, 2))
    second = weights["b.weight"].abs().sum((0, 2))
    expected = first.clone()
    expected[torch.tensor([2, 0, 1])] += second
    assert torch.allclose(scores, expected)
    assert group.filters_per_channel().tolist() == [2, 2, 2]


def test_comparable_importances_do_not_depend_on_a_layers_scale() -> None:
    group, weights = coupled()
    (before,) = channel_importances([group], weights, "L2", comparable=True)
    weights["a.weight"] = weights["a.weight"] * 1000
    (after,) = channel_importances([group], weights, "L2", comparable=True)
    assert torch.allclose(before, after)
