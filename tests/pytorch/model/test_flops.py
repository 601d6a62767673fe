"""Floating-point operations of one sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs

STEPS, FEATURES, HIDDEN = 7, 5, 6


def flops(model: nn.Module, *inputs: Tensor) -> FlopsModel:
    return FlopsModel(model, ExampleInputs.of(inputs))


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_each_step_of_a_recurrent_layer_multiplies_with_all_its_matrices(
    kind: type[nn.RNNBase], gates: int, directions: int
) -> None:
    layer = kind(FEATURES, HIDDEN, 2, batch_first=True, bidirectional=directions == 2)
    elements = gates * HIDDEN * (FEATURES + HIDDEN + directions * HIDDEN + HIDDEN) * directions
    counted = flops(nn.Sequential(layer), torch.zeros(1, STEPS, FEATURES))
    assert counted.dense == 2 * STEPS * elements
    assert counted.by_layer["0"] == counted.dense


def test_a_recurrent_layer_that_loses_inputs_loses_their_share() -> None:
    counted = flops(
        nn.Sequential(nn.LSTM(FEATURES, HIDDEN, batch_first=True)), torch.zeros(1, STEPS, FEATURES)
    )
    fewer = {"0.weight_ih_l0": torch.Size([4 * HIDDEN, FEATURES - 2])}
    assert counted.dense - counted.count(fewer) == 2 * STEPS * 4 * HIDDEN * 2


def test_a_batch_counts_as_one_sample() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    one, many = flops(model, torch.zeros(1, 3, 8, 8)), flops(model, torch.zeros(6, 3, 8, 8))
    assert one.dense == many.dense == 2 * (36 * 4 * 27 + 4 * 36 * 5)


def test_a_model_that_takes_no_single_sample_counts_as_it_is() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.linear(x.reshape(-1, 2, 3))
            return output

    assert flops(Pairs(), torch.zeros(2, 3)).dense == 2 * 2 * 12


def test_a_parametrized_layer_scales_with_what_its_weight_is_made_of() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(4, 8, 3)))
    counted = flops(model, torch.zeros(1, 4, 10))
    half = {"0.parametrizations.weight.original1": torch.Size([4, 4, 3])}
    assert counted.count(half) == counted.dense // 2 == 2 * 8 * 4 * 12


def test_a_view_of_a_parameter_goes_into_a_submodule() -> None:
    class Query(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.ones(1, 6))
            self.linear = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.linear(self.query.expand(len(x), -1))
            return output + x

    assert flops(Query(), torch.zeros(1, 4)).dense == 2 * 24


def test_a_forward_that_computes_gradients_of_its_own_is_counted() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.linear(x).square().sum(), x)
            return slope

    assert flops(Slope(), torch.zeros(1, 3)).dense >= 2 * 3
