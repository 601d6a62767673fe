"""Which arguments of a forward a batch's inputs become."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.pytorch.data.batches import first_sample, inputs_of

A, B, Y = torch.zeros(4, 2), torch.ones(4, 2), torch.zeros(4)


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Many(nn.Module):
    def forward(self, *parts: Tensor) -> Tensor:
        return torch.stack(parts).sum(0)


class Together(nn.Module):
    """As detection models: several tensors in a list, and targets in training."""

    def forward(self, images: list[Tensor], targets: Any = None) -> Tensor:
        return torch.stack(images).sum(0)


class Named(nn.Module):
    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        return a if b is None else a + b


class Whole(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["a"] + batch["b"]


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (Two(), (A, B, Y)),
        (Two(), ((A, B), Y)),
        (Two(), [[A, B], Y]),
        (Two(), ([A, B],)),
        (nn.DataParallel(Two()), ((A, B), Y)),
        (Many(), ((A, B), Y)),
        (Together(), ([A, B], Y)),
        (Named(), (A, B, Y)),
        (Named(), ({"a": A, "b": B}, Y)),
        (Named(), {"a": A, "b": B}),
        (Whole(), ({"a": A, "b": B}, Y)),
    ],
)
def test_inputs_lie_flat_or_together(model: nn.Module, batch: Any) -> None:
    assert torch.equal(inputs_of(batch, model).call(model), A + B)
    assert first_sample(batch, model).call(model).shape == (1, 2)
