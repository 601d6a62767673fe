"""Magnitude sparsity: exact rates, masks that hold, and dense values that come back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import Optimizer

from accaware import create_accuracy_aware_training_loop
from accaware.errors import CheckpointError, CompressionError, UsageError
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, adaptive, early_exit
from tests.runners.torch_case import accuracy, train, trained_model

LAYERS = ("features.0", "features.3", "classifier")

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def sparse(model: nn.Module, inputs: Any = EXAMPLE, **section: Any) -> PTCompressionController:
    """``section`` holds the algorithm's keys; its params default to a short schedule."""
    params = {
        "sparsity_target_epoch": 1,
        "sparsity_freeze_epoch": 2,
        **section.pop("params", {}),
    }
    config = adaptive({"algorithm": "magnitude_sparsity", **section, "params": params})
    controller, same = create_compressed_model(model, config, inputs)
    assert same is model
    return controller


def weights(model: nn.Module) -> list[Tensor]:
    return [model.get_submodule(name).weight.detach() for name in LAYERS]  # type: ignore[union-attr,operator]


def zeros(tensors: list[Tensor]) -> int:
    return sum(int((tensor == 0).sum()) for tensor in tensors)


def lowest_first(dense: list[Tensor], importance: str) -> Tensor:
    """All weights' scores in one row, computed the slow way."""
    norms = [tensor.norm() if importance == "normed_abs" else 1 for tensor in dense]
    return torch.cat(
        [(tensor.abs() / norm).flatten() for tensor, norm in zip(dense, norms, strict=True)]
    )


@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.333, 0.5, 0.99, 1.0])
def test_globally_exactly_the_lowest_weights_go(importance: str, rate: float) -> None:
    model = trained_model()
    dense = [tensor.clone() for tensor in weights(model)]
    controller = sparse(model, params={"weight_importance": importance})
    controller.compression_rate = rate

    scores = lowest_first(dense, importance)
    total = len(scores)
    count = round(rate * total)
    assert zeros(weights(model)) == count
    assert controller.compression_rate == count / total
    gone = torch.cat([(tensor == 0).flatten() for tensor in weights(model)])
    if 0 < count < total:
        assert scores[gone].max() <= scores[~gone].min()
    for tensor, original in zip(weights(model), dense, strict=True):
        assert torch.equal(tensor[tensor != 0], original[tensor != 0])


@pytest.mark.parametrize("importance", ["abs", "normed_abs"])
def test_locally_each_layer_has_the_rate(importance: str) -> None:
    model = trained_model()
    params = {"weight_importance": importance, "sparsity_level_setting_mode": "local"}
    controller = sparse(model, params=params)
    controller.compression_rate = 0.7
    for tensor in weights(model):
        assert zeros([tensor]) == round(0.7 * tensor.numel())


def test_the_two_importances_differ_where_layers_differ_in_scale() -> None:
    def zeroed(importance: str) -> list[int]:
        model = trained_model()
        with torch.no_grad():
            model.classifier.weight.mul_(100)
        controller = sparse(model, params={"weight_importance": importance})
        controller.compression_rate = 0.5
        return [zeros([tensor]) for tensor in weights(model)]

    assert zeroed("abs")[-1] == 0
    assert zeroed("normed_abs")[-1] > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    model = trained_model().to(dtype)
    controller = sparse(model, EXAMPLE.to(dtype))
    controller.compression_rate = 0.5
    assert zeros(weights(model)) == 1920


@pytest.mark.parametrize("mode", ["global", "local"])
def test_ties_go_in_order_until_the_rate_is_exact(mode: str) -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 4))
    for layer in model:
        nn.init.constant_(layer.weight, 0.5)
    params = {"sparsity_level_setting_mode": mode, "weight_importance": "abs"}
    controller = sparse(model, torch.zeros(1, 10), params=params)
    controller.compression_rate = 0.35
    flat = torch.cat([layer.weight.detach().flatten() for layer in model])
    assert int((flat == 0).sum()) == 49
    if mode == "global":
        assert not flat[:49].any()
        assert flat[49:].all()


def test_weights_that_are_zero_already_count_and_go_first() -> None:
    model = trained_model()
    with torch.no_grad():
        model.features[3].weight[:12].zero_()
    controller = sparse(model)
    assert controller.compression_rate == pytest.approx(12 * 16 * 9 / 3840)
    controller.compression_rate = 0.5
    assert zeros(weights(model)) == 1920
    assert not model.features[3].weight[:12].any()


# Training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_zeros_hold_through_training_while_the_rate_changes(name: str) -> None:
    model = trained_model()
    controller = sparse(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    controller.attach_optimizer(optimizer)
    for epoch, rate in enumerate((0.3, 0.8, 0.6)):
        controller.compression_rate = rate
        masks = [tensor == 0 for tensor in weights(model)]
        before = [tensor.clone() for tensor in weights(model)]
        steps = 0

        def check(*_: Any, masks: list[Tensor] = masks) -> None:
            nonlocal steps
            steps += 1
            for tensor, mask in zip(weights(model), masks, strict=True):
                assert not tensor[mask].any()

        handle = optimizer.register_step_post_hook(check)
        train(controller, model, epoch=epoch, optimizer=optimizer)
        handle.remove()
        assert steps > 10
        assert controller.compression_rate == pytest.approx(rate, abs=1e-4)
        for tensor, old in zip(weights(model), before, strict=True):
            assert not torch.equal(tensor, old)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_kept_weights_train_as_if_the_others_were_not_there(name: str) -> None:
    """The reference multiplies by the mask in its forward and never touches the weights."""
    model = trained_model().double()
    reference = copy.deepcopy(model)
    controller = sparse(model, EXAMPLE.double())
    controller.compression_rate = 0.6
    optimizer = OPTIMIZERS[name](model.parameters())
    controller.attach_optimizer(optimizer)
    masks = {name: (part != 0) for name, part in zip(LAYERS, weights(model), strict=True)}
    other = OPTIMIZERS[name](reference.parameters())
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        images = torch.randn(16, 1, 8, 8, generator=generator, dtype=torch.float64)
        for network, its_optimizer in ((model, optimizer), (reference, other)):
            changed = {
                f"{layer}.weight": reference.get_parameter(f"{layer}.weight") * mask
                for layer, mask in masks.items()
            }
            own = {} if network is model else changed
            output = torch.func.functional_call(network, own, (images,))
            its_optimizer.zero_grad()
            (output**2).mean().backward()
            its_optimizer.step()
    for layer, mask in masks.items():
        ours, theirs = (net.get_parameter(f"{layer}.weight") for net in (model, reference))
        torch.testing.assert_close(ours[mask], theirs[mask], rtol=1e-9, atol=1e-11)
        assert not ours[~mask].any()


def test_dense_values_come_back_exactly_when_the_rate_falls() -> None:
    model = trained_model()
    dense = [tensor.clone() for tensor in weights(model)]
    controller = sparse(model)
    controller.compression_rate = 0.8
    masks = [tensor == 0 for tensor in weights(model)]
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    controller.attach_optimizer(optimizer)
    train(controller, model, epoch=0, optimizer=optimizer)
    trained = [tensor.clone() for tensor in weights(model)]
    controller.compression_rate = 0.0
    for tensor, mask, original, after in zip(weights(model), masks, dense, trained, strict=True):
        assert torch.equal(tensor[mask], original[mask])
        assert torch.equal(tensor[~mask], after[~mask])


def test_any_walk_of_rates_loses_nothing() -> None:
    model = trained_model()
    dense = [tensor.clone() for tensor in weights(model)]
    controller = sparse(model)
    seen: dict[float, list[Tensor]] = {}
    for rate in (0.2, 0.9, 0.5, 1.0, 0.2, 0.7, 0.5, 0.9, 0.0):
        controller.compression_rate = rate
        now = [tensor.clone() for tensor in weights(model)]
        for tensor, before in zip(now, seen.setdefault(rate, now), strict=True):
            assert torch.equal(tensor, before)
    assert all(torch.equal(*pair) for pair in zip(weights(model), dense, strict=True))


@pytest.mark.parametrize(
    ("section", "params", "levels"),
    [
        (
            {},
            {"schedule": "polynomial", "sparsity_target": 0.5, "sparsity_target_epoch": 2},
            [0, 0.5 - 0.5 * 0.5**0.9, 0.5, 0.5],
        ),
        (
            {"sparsity_init": 0.2},
            {"schedule": "exponential", "sparsity_target": 0.5, "sparsity_target_epoch": 2},
            [0.2, 1 - (0.8 * 0.5) ** 0.5, 0.5, 0.5],
        ),
        (
            {},
            {
                "schedule": "multistep",
                "multistep_steps": [1, 3],
                "multistep_sparsity_levels": [0.1, 0.3, 0.5],
            },
            [0.1, 0.3, 0.3, 0.5],
        ),
    ],
    ids=["polynomial", "exponential", "multistep"],
)
def test_schedules_in_training(
    section: dict[str, Any], params: dict[str, Any], levels: list[float]
) -> None:
    compression = {
        "algorithm": "magnitude_sparsity",
        **section,
        "params": {**params, "sparsity_freeze_epoch": 10},
    }
    config = adaptive(compression, initial_training_phase_epochs=4, maximal_total_epochs=4)
    trial = searched(config)
    assert [epoch.compression_rate for epoch in trial.epochs] == pytest.approx(levels, abs=0.001)
    assert trial.epochs[-1].fully_compressed


def test_the_adaptive_schedule_rises_while_the_metric_holds() -> None:
    compression = {
        "algorithm": "magnitude_sparsity",
        "sparsity_init": 0.1,
        "params": {"schedule": "adaptive", "sparsity_target": 0.3, "patience": 1},
    }
    trial = searched(early_exit(compression, maximal_total_epochs=12))
    rates = [epoch.compression_rate for epoch in trial.epochs]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.1, abs=0.001)
    assert len(set(rates)) > 2
    assert rates[-1] == pytest.approx(0.3, abs=0.001)


def test_levels_that_change_at_each_optimizer_step() -> None:
    compression = {
        "algorithm": "magnitude_sparsity",
        "params": {
            "update_per_optimizer_step": True,
            "steps_per_epoch": 19,
            "sparsity_target": 0.6,
            "sparsity_target_epoch": 2,
            "sparsity_freeze_epoch": 3,
            "power": 1.0,
        },
    }
    model = trained_model()
    config = adaptive(compression, initial_training_phase_epochs=3)
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    optimizer = OPTIMIZERS["adam"](model.parameters())
    controller.attach_optimizer(optimizer)
    rates: list[float] = []
    optimizer.register_step_post_hook(lambda *_: rates.append(controller.compression_rate))
    for epoch in range(3):
        controller.scheduler.epoch_step()
        train(controller, model, epoch=epoch, optimizer=optimizer)
    expected = [min(0.6, 0.3 * step / 19) for step in range(len(rates))]
    assert rates == pytest.approx(expected, abs=0.001)


def searched(config: Any) -> Any:
    """The first trial of a search."""
    model = trained_model()
    baseline = accuracy(model)
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    loop = create_accuracy_aware_training_loop(config, controller, baseline)
    loop.run(model, train, accuracy, lambda: OPTIMIZERS["adam"](model.parameters()))
    return loop.result.trials[0]


# Which weights -------------------------------------------------------------------------------


class Tied(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.third = nn.Linear(6, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.third(self.second(self.first(inputs)))
        return outputs


def test_a_shared_weight_counts_once() -> None:
    model = Tied()
    controller = sparse(model, torch.zeros(1, 6))
    controller.compression_rate = 0.5
    assert model.second.weight is model.first.weight
    assert zeros([model.first.weight, model.third.weight]) == 36
    state = copy.deepcopy(controller.state_dict())
    wanted = model.first.weight.clone()
    controller.compression_rate = 0.9
    controller.load_state_dict(state)
    assert torch.equal(model.second.weight, wanted)


def test_a_shared_weight_stays_where_one_of_its_layers_is_excluded() -> None:
    model = Tied()
    controller = sparse(model, torch.zeros(1, 6), ignored_scopes=["second"])
    controller.compression_rate = 0.5
    assert zeros([model.first.weight]) == 0
    assert zeros([model.third.weight]) == 18
    reasons = {entry.layer: entry.reason for entry in controller.excluded}
    assert "ignored_scopes" in reasons["second"]
    assert "shares its weight with second" in reasons["first"]


def test_a_computed_weight_is_excluded() -> None:
    model = nn.Sequential(nn.Linear(6, 6), weight_norm(nn.Linear(6, 6)))
    controller = sparse(model, torch.zeros(1, 6))
    controller.compression_rate = 0.5
    assert controller.compression_rate == 0.5
    assert zeros([model[0].weight]) == 18
    assert [entry.layer for entry in controller.excluded] == ["1"]
    assert "parametrized" in controller.excluded[0].reason


@pytest.mark.parametrize(
    ("scopes", "covered"),
    [
        ({}, LAYERS),
        ({"ignored_scopes": ["classifier"]}, LAYERS[:2]),
        ({"ignored_scopes": ["features"]}, LAYERS[2:]),
        ({"target_scopes": ["{re}features\\.\\d"]}, LAYERS[:2]),
        ({"target_scopes": ["feat*"], "ignored_scopes": ["features.0"]}, LAYERS[1:2]),
    ],
)
def test_scopes_choose_layers(scopes: dict[str, Any], covered: tuple[str, ...]) -> None:
    model = trained_model()
    controller = sparse(model, **scopes, params={"sparsity_level_setting_mode": "local"})
    controller.compression_rate = 0.5
    chosen = tuple(
        name for name, tensor in zip(LAYERS, weights(model), strict=True) if zeros([tensor])
    )
    assert chosen == covered
    assert {entry.layer for entry in controller.excluded} == set(LAYERS) - set(covered)
    assert controller.compression_rate == 0.5


def test_scopes_that_leave_nothing_or_mean_nothing() -> None:
    with pytest.raises(CompressionError, match=r"no weight of TinyNet.*ignored_scopes"):
        sparse(trained_model(), ignored_scopes=["features", "classifier"])
    with pytest.raises(UsageError, match="did you mean 'classifier'"):
        sparse(trained_model(), ignored_scopes=["clasifier"])
    with pytest.raises(CompressionError, match="no convolution"):
        sparse(nn.Sequential(nn.LayerNorm(4)), torch.zeros(1, 4))


# Checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_brings_back_masks_and_dense_values() -> None:
    model = trained_model()
    controller = sparse(model)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    controller.attach_optimizer(optimizer)
    controller.compression_rate = 0.6
    train(controller, model, epoch=0, optimizer=optimizer)
    state = copy.deepcopy(controller.state_dict())
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    controller.compression_rate = 0.9
    train(controller, model, epoch=1, optimizer=optimizer)
    controller.load_state_dict(state)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())

    fresh = trained_model()
    other = sparse(fresh)
    other.load_state_dict(state)
    for target in (0.6, 0.3, 0.0):
        controller.compression_rate = other.compression_rate = target
        for name, tensor in fresh.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name])


def test_a_checkpoint_of_other_layers_is_refused() -> None:
    controller, other = sparse(trained_model()), sparse(trained_model(), target_scopes=["features"])
    with pytest.raises(CheckpointError, match="not this model's"):
        other.load_state_dict(controller.state_dict())


def test_masks_are_bits_of_the_weights_device_and_follow_a_model_that_is_moved() -> None:
    model = trained_model()
    controller = sparse(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller.attach_optimizer(optimizer)
    controller.compression_rate = 0.5
    masks = controller.state_dict()["algorithm"]["dense"].content["masks"]
    assert {mask.dtype for mask in masks.values()} == {torch.bool}
    model.double()
    model(EXAMPLE.double()).sum().backward()
    optimizer.step()
    assert controller.compression_rate == pytest.approx(0.5, abs=1e-3)
    controller.compression_rate = 0.25
    assert controller.compression_rate == pytest.approx(0.25, abs=1e-3)
    assert {weight.dtype for weight in weights(model)} == {torch.float64}
