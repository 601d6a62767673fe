"""Which arguments of a forward a batch's inputs become."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.pytorch.data.batches import first_sample, inputs_of, to_device
from accaware.pytorch.model.inputs import batch_size_of

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


class Encoding(UserDict[str, Tensor]):
    """A mapping as tokenizers give it: no dict, and on a device as a whole."""

    def to(self, device: torch.device) -> Encoding:
        return Encoding({key: value.to(device) for key, value in self.items()})


@pytest.mark.parametrize("labelled", [False, True])
def test_a_mapping_that_is_no_dict_has_its_size_and_goes_in_by_keyword(labelled: bool) -> None:
    encoding = Encoding(tokens=torch.zeros(5, 7), mask=torch.ones(5, 7))
    batch = (encoding, torch.arange(5)) if labelled else encoding
    assert batch_size_of(batch) == 5
    moved = to_device(batch, torch.device("cpu"))
    assert batch_size_of(moved) == 5

    class Net(nn.Module):
        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return (tokens * mask).sum(1)

    inputs = inputs_of(batch, Net())
    assert inputs.call(Net()).shape == (5,)
    assert first_sample(batch, Net()).call(Net()).shape == (1,)
