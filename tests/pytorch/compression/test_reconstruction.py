"""Least-squares reconstruction of what reads removed channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import accuracy, digits, trained_model

ASKED = {"reconstruction": {"num_samples": 400}}
EVERYTHING = {"prune_first_conv": True, "prune_downsample_convs": True, "pruning_steps": 2}


def section(initializer: dict[str, Any]) -> dict[str, Any]:
    return {"algorithm": "filter_pruning", "initializer": initializer, "params": EVERYTHING}


def compressed(
    model: nn.Module, inputs: Tensor, initializer: dict[str, Any] = ASKED
) -> PTCompressionController:
    loader = [(batch, torch.zeros(len(batch))) for batch in inputs.split(50)]
    controller, _ = create_compressed_model(
        model, adaptive(section(initializer)), inputs[:1], loader
    )
    return controller


def images(count: int = 400) -> Tensor:
    return digits()[0][:count]


class Perceptron(nn.Module):
    """(N, 6) -> (N, 3), by way of 8 that hang together."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.outputs = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.outputs(torch.relu(self.hidden(inputs)))
        return outputs


class Convolutions(nn.Module):
    """Its channels are mixtures of three, so that few of them are missed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.inner = nn.Conv2d(8, 6, 3)
        self.larger = nn.ConvTranspose2d(6, 8, 2, 2)
        self.outputs = nn.Conv2d(8, 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.outputs(self.larger(self.inner(self.first(inputs))))
        return outputs


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_reader_gets_the_ridge_regression_of_what_went_on_what_stays() -> None:
    model, inputs = Perceptron(), torch.randn(400, 6) + 3
    with torch.no_grad():
        hidden = torch.relu(model.hidden(inputs)).double()
    weight, bias = model.outputs.weight.detach().double(), model.outputs.bias.detach().double()
    controller = compressed(model, inputs)
    controller.compression_rate = 0.5
    kept = controller.algorithm.kept_masks()["outputs.weight"][1]
    assert 0 < kept.sum() < 8
    centred = hidden - hidden.mean(dim=0)
    stays, goes = centred[:, kept], centred[:, ~kept]
    # A ridge is so many more samples, of which each has one channel and nothing of the others.
    ridge = 0.1 * stays.square().sum(dim=0).mean()
    more = torch.cat([stays, ridge.sqrt() * torch.eye(stays.shape[1])])
    shares = torch.linalg.lstsq(more, torch.cat([goes, torch.zeros(stays.shape[1], goes.shape[1])]))
    wanted = weight[:, kept] + weight[:, ~kept] @ shares.solution.T
    torch.testing.assert_close(model.outputs.weight.detach().double(), wanted, rtol=1e-4, atol=1e-5)
    means = hidden.mean(dim=0)
    lost = weight[:, ~kept] @ (means[~kept] - shares.solution.T @ means[kept])
    torch.testing.assert_close(
        model.outputs.bias.detach().double(), bias + lost, rtol=1e-4, atol=1e-4
    )


def test_convolutions_lose_less_of_their_outputs() -> None:
    inputs = torch.randn(64, 3, 6, 6)
    lost = []
    for initializer in ({}, ASKED):
        torch.manual_seed(0)
        model = Convolutions()
        dense = model(inputs)
        compressed(model, inputs, initializer).compression_rate = 0.2
        lost.append(((model(inputs) - dense).norm() / dense.norm()).item())
    without, with_it = lost
    assert with_it < without / 2


def test_right_behind_a_cut_a_trained_network_is_better() -> None:
    adapted = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 400}}
    for rate in (0.3, 0.5):
        found = []
        for initializer in (adapted, {**adapted, **ASKED}):
            model = trained_model()
            compressed(model, images(), initializer).compression_rate = rate
            found.append(accuracy(model))
        assert found[1] > found[0]


def test_no_correction_is_left_of_channels_that_came_back() -> None:
    model, inputs = Convolutions(), torch.randn(64, 3, 6, 6)
    dense = model(inputs)
    controller = compressed(model, inputs)
    controller.compression_rate = 0.3
    at_once = model(inputs)
    for rate in (0.5, 0.6, 0.3):
        controller.compression_rate = rate
    torch.testing.assert_close(model(inputs), at_once)
    controller.compression_rate = 0
    torch.testing.assert_close(model(inputs), dense)


def test_after_a_checkpoint_it_knows_its_corrections() -> None:
    inputs = torch.randn(64, 3, 6, 6)
    torch.manual_seed(0)
    model, other = Convolutions(), Convolutions()
    dense = model(inputs)
    controller, theirs = compressed(model, inputs), compressed(other, inputs)
    controller.compression_rate = 0.5
    theirs.load_state_dict(controller.state_dict())
    assert torch.equal(other(inputs), model(inputs))
    theirs.compression_rate = 0
    torch.testing.assert_close(other(inputs), dense)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_correct_nothing(value: float) -> None:
    models = []
    for initializer in ({}, ASKED):
        torch.manual_seed(0)
        model, inputs = Perceptron(), torch.randn(400, 6)
        inputs[7] = value
        compressed(model, inputs, initializer).compression_rate = 0.5
        models.append(model)
    assert torch.equal(models[0].outputs.weight, models[1].outputs.weight)
    assert torch.equal(models[0].outputs.bias, models[1].outputs.bias)


class Twice(Perceptron):
    """One layer reads the same channels twice, of which one time others."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(inputs))
        outputs: Tensor = self.outputs(hidden) + self.outputs(hidden.square())
        return outputs


class Grouped(nn.Module):
    """A grouped convolution reads the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.outputs = nn.Conv2d(8, 8, 3, groups=2)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.outputs(torch.relu(self.first(inputs))))
        return outputs


@pytest.mark.parametrize(("kind", "size"), [(Twice, (6,)), (Grouped, (3, 6, 6))])
def test_readers_of_other_kinds_are_left_alone(
    kind: type[Twice | Grouped], size: tuple[int, ...]
) -> None:
    inputs, models = torch.randn(100, *size), []
    for initializer in ({}, ASKED):
        torch.manual_seed(0)
        model = kind()
        controller = compressed(model, inputs, initializer)
        controller.compression_rate = 0.5
        assert controller.compression_rate > 0
        models.append(model)
    assert torch.equal(models[0].outputs.weight, models[1].outputs.weight)


def test_zeros_of_sparsity_stay_zero() -> None:
    params = {**SPARSITY["params"], "sparsity_target": 0.5, "sparsity_target_epoch": 1}
    config = early_exit([section(ASKED), {**SPARSITY, "params": params}])
    loader = [(images(), torch.zeros(400))]
    controller, _ = create_compressed_model(trained_model(), config, EXAMPLE, loader)
    controller.compression_rate = 0.6
    assert controller.compression_rate == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("initializer", [{}, {"reconstruction": {"num_samples": 0}}])
def test_it_is_off_unless_asked_for(initializer: dict[str, Any]) -> None:
    model, inputs = Perceptron(), torch.randn(400, 6)
    before = model.outputs.weight.detach().clone()
    controller = compressed(model, inputs, initializer)
    controller.compression_rate = 0.5
    kept = controller.algorithm.kept_masks()["outputs.weight"][1]
    assert torch.equal(model.outputs.weight, before[:, kept])


def test_without_training_data_it_is_an_error_up_front() -> None:
    config = adaptive({**PRUNING, "initializer": ASKED})
    with pytest.raises(UsageError, match=r"reconstruction.*train_loader"):
        create_compressed_model(trained_model(), config, EXAMPLE)
