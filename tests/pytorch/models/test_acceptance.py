"""Models that can't be compressed as they are: one sentence says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import create_compressed_model
from tests.pytorch.training.scripts import SPARSITY, adaptive

INPUTS = torch.zeros(1, 3)


class NeedsGradients(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.linear(x).sum(), x)
        return slope


def traced() -> nn.Module:
    with pytest.warns(Warning, match="torch.jit"):
        module: Any = torch.jit.trace(nn.Linear(3, 4), INPUTS)
    return module


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Sequential(nn.ReLU()), "no parameters"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), "0 (LazyLinear) has no shape yet"),
        (lambda: nn.Linear(3, 4, device="meta"), "weight of Linear is on the meta device"),
        (lambda: nn.Linear(5, 4), "Linear doesn't run on the example inputs"),
        (NeedsGradients, "torch.enable_grad()"),
        (traced, "torch.jit"),
    ],
)
def test_it_is_refused_in_one_sentence(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        create_compressed_model(make(), adaptive(SPARSITY), INPUTS)
    assert "\n" not in str(caught.value)
