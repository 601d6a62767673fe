"""Least-squares reconstruction of what reads removed channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import accuracy, digits, trained_model

EVERYTHING = {"prune_first_conv": True, "prune_downsample_convs": True, "pruning_steps": 2}


def section(samples: int, **initializer: Any) -> dict[str, Any]:
    params = {**EVERYTHING, "reconstruction_samples": samples}
    return {"algorithm": "filter_pruning", "initializer": initializer, "params": params}


def compressed(
    model: nn.Module, inputs: Tensor, samples: int = 400, **initializer: Any
) -> PTCompressionController:
    loader = [(batch, torch.zeros(len(batch))) for batch in inputs.split(50)]
    config = adaptive(section(samples, **initializer))
    controller, _ = create_compressed_model(model, config, inputs[:1], loader)
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


def test_right_behind_a_cut_a_trained_network_is_better() -> None:
    adapted = {"num_bn_adaptation_samples": 400}
    for rate in (0.3, 0.5):
        found = []
        for samples in (0, 400):
            model = trained_model()
            controller = compressed(model, images(), samples, batchnorm_adaptation=adapted)
            controller.compression_rate = rate
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


class Twice(Perceptron):
    """One layer reads the same channels twice, of which one time others."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(inputs))
        outputs: Tensor = self.outputs(hidden) + self.outputs(hidden.square())
        return outputs


class Flattened(nn.Module):
    """Each channel has several positions when it is read, behind functions that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.outputs = nn.Linear(72, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(torch.relu(self.first(inputs)), 2)
        outputs: Tensor = self.outputs(pooled.flatten(1))
        return outputs


def cut(kind: Callable[[], nn.Module], inputs: Tensor, samples: int) -> tuple[nn.Module, float]:
    """A model without some of its channels, and what that takes of its outputs, as a share."""
    torch.manual_seed(0)
    model = kind()
    dense = model(inputs)
    controller = compressed(model, inputs, samples)
    controller.compression_rate = 0.3
    assert controller.compression_rate > 0
    return model, ((model(inputs) - dense).norm() / dense.norm()).item()


@pytest.mark.parametrize(
    ("kind", "size"), [(Convolutions, (3, 6, 6)), (Twice, (6,)), (Flattened, (3, 6, 6))]
)
def test_less_of_the_outputs_is_lost(kind: Callable[[], nn.Module], size: tuple[int, ...]) -> None:
    inputs = torch.randn(200, *size)
    _, with_it = cut(kind, inputs, 200)
    _, without = cut(kind, inputs, 0)
    assert with_it < 0.7 * without


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


class Functional(Perceptron):
    """The layer's parameters are used, and the layer isn't called."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(inputs))
        return nn.functional.linear(hidden, self.outputs.weight, self.outputs.bias)


def assert_left_alone(kind: Callable[[], nn.Module], inputs: Tensor) -> None:
    """What reads the channels has the weights and the bias that it has without reconstruction."""
    models = [cut(kind, inputs, samples)[0] for samples in (0, 400)]
    mine, theirs = (model.get_submodule("outputs").state_dict() for model in models)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "size"), [(Functional, (6,)), (Grouped, (3, 6, 6))])
def test_readers_of_other_kinds_are_left_alone(
    kind: Callable[[], nn.Module], size: tuple[int, ...]
) -> None:
    assert_left_alone(kind, torch.randn(100, *size))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_correct_nothing(value: float) -> None:
    inputs = torch.randn(100, 6)
    inputs[7] = value
    assert_left_alone(Perceptron, inputs)


def test_one_sample_is_too_few_to_correct_anything() -> None:
    assert_left_alone(Perceptron, torch.randn(1, 6))


def test_zeros_of_sparsity_stay_zero() -> None:
    params = {**SPARSITY["params"], "sparsity_target": 0.5, "sparsity_target_epoch": 1}
    config = early_exit([section(400), {**SPARSITY, "params": params}])
    loader = [(images(), torch.zeros(400))]
    controller, _ = create_compressed_model(trained_model(), config, EXAMPLE, loader)
    controller.compression_rate = 0.6
    assert controller.compression_rate == pytest.approx(0.6, abs=0.02)


def test_with_0_samples_it_is_off() -> None:
    model, inputs = Perceptron(), torch.randn(400, 6)
    before = model.outputs.weight.detach().clone()
    controller = compressed(model, inputs, samples=0)
    controller.compression_rate = 0.5
    kept = controller.algorithm.kept_masks()["outputs.weight"][1]
    assert torch.equal(model.outputs.weight, before[:, kept])


def test_without_training_data_it_is_an_error_up_front() -> None:
    config = adaptive(section(400))
    with pytest.raises(UsageError, match=r"reconstruction.*train_loader"):
        create_compressed_model(trained_model(), config, EXAMPLE)
