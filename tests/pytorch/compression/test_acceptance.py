"""Models that can't be compressed as they are: one sentence says what to do."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError, UsageError
from accaware.pytorch import create_compressed_model
from tests.pytorch.training.scripts import PRUNING, SPARSITY, adaptive

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


class Slope(nn.Module):
    """(N, 3) -> (N, 3): how an energy of batch-normalised features changes with the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 16), nn.Tanh()
        )
        self.energy = nn.Linear(16, 1)

    def forward(self, points: Tensor) -> Tensor:
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            energy = self.energy(self.features(points)).sum()
            (slope,) = torch.autograd.grad(energy, points)
        return slope


def test_a_forward_that_records_gradients_itself_is_pruned() -> None:
    points = torch.randn(4, 3)
    controller, model = create_compressed_model(Slope(), adaptive(PRUNING), points)
    controller.compression_rate = 0.5
    assert controller.compression_rate > 0
    assert model(points).shape == points.shape


class Growing(nn.Module):
    """Remembers as many numbers as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
        self.register_buffer("seen", torch.zeros(2))

    def forward(self, points: Tensor) -> Tensor:
        outputs: Tensor = self.layers(points)
        return outputs


def test_a_buffer_that_grew_is_as_large_as_it_was_when_the_state_was_taken() -> None:
    controller, model = create_compressed_model(Growing(), adaptive(SPARSITY), INPUTS)
    state = copy.deepcopy(controller.state_dict())
    model.seen = torch.arange(5.0)
    controller.load_state_dict(state)
    assert torch.equal(model.seen, torch.zeros(2))


def test_another_models_state_is_refused() -> None:
    states = []
    for width in (8, 9):
        model = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))
        controller, _ = create_compressed_model(model, adaptive(SPARSITY), INPUTS)
        states.append(copy.deepcopy(controller.state_dict()))
    with pytest.raises(CheckpointError, match="not this model"):
        controller.load_state_dict(states[0])


@pytest.mark.parametrize(
    ("config", "maker"),
    [({"compression": {"algorithm": "filter_pruning"}}, "from_dict"), ("a.json", "from_json")],
)
def test_a_config_has_to_be_made_first(config: Any, maker: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"AccAwareConfig.{maker}(...)")):
        create_compressed_model(nn.Linear(3, 4), config, INPUTS)
