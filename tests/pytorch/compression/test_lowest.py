"""The lowest of many scores, against sorting them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from accaware.pytorch.compression.pruning import lowest
from accaware.pytorch.compression.pruning.lowest import mask_of, masks_of


def sorted_out(tensors: list[Tensor], rate: float) -> Tensor:
    """The mask over all entries in a row, by a stable sort."""
    together = torch.cat([tensor.abs().flatten() for tensor in tensors])
    kept = torch.ones(len(together), dtype=torch.bool)
    kept[together.sort(stable=True).indices[: round(rate * len(together))]] = False
    return kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("piece", [5, 1 << 20])
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    rate=st.floats(0, 1),
    steps=st.sampled_from([0, 2, 50]),
    seed=st.integers(0, 1000),
)
def test_it_is_what_sorting_gives(
    dtype: torch.dtype, piece: int, sizes: list[int], rate: float, steps: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(size, 3, generator=generator, dtype=dtype) for size in sizes]
    if steps:  # many equal ones, zeros among them
        tensors = [(steps * tensor).round() / steps for tensor in tensors]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowest, "_PIECE", piece)
        masks = masks_of(tensors, rate, lambda part, _: part.abs())
    assert torch.equal(torch.cat([mask.flatten() for mask in masks]), sorted_out(tensors, rate))


def test_the_order_is_that_of_the_entries_whatever_that_of_the_memory() -> None:
    scores = torch.tensor([[1.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    expected = torch.tensor([[False, True, True], [True, True, False]])
    assert torch.equal(mask_of(scores, 1 / 3), expected)
    assert torch.equal(mask_of(scores.T.contiguous().T, 1 / 3), expected)


def test_a_scalar_is_a_score_too() -> None:
    masks = masks_of([torch.tensor(3.0), torch.tensor([1.0, 4.0])], 2 / 3, lambda part, _: part)
    assert [mask.tolist() for mask in masks] == [False, [False, True]]
