"""Filters removed and weights zeroed on one model, and all of it back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import create_accuracy_aware_training_loop
from accaware.pytorch import PTCompressionController, create_compressed_model, load_compressed
from accaware.pytorch.compression.pruning_with_sparsity import PruningWithSparsity
from accaware.pytorch.state.checkpoint import save_compressed
from tests.pytorch.training.scripts import EXAMPLE, SPARSITY, early_exit
from tests.runners.torch_case import PRUNING, accuracy, train, trained_model


def mixed(
    model: nn.Module, *sections: dict[str, Any]
) -> tuple[PTCompressionController, PruningWithSparsity]:
    config = early_exit(list(sections or (SPARSITY, PRUNING)))
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    assert isinstance(controller.algorithm, PruningWithSparsity)
    return controller, controller.algorithm


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.dim() > 1}


def zeros(model: nn.Module) -> int:
    return sum(int((value == 0).sum()) for value in weights(model).values())


def size(model: nn.Module) -> int:
    return sum(value.numel() for value in weights(model).values())


def trained_steps(controller: PTCompressionController, model: nn.Module, epochs: int = 1) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    controller.attach_optimizer(optimizer)
    for epoch in range(epochs):
        train(controller, model, epoch=epoch, optimizer=optimizer)


def test_zeros_are_counted_among_what_is_left() -> None:
    model = trained_model()
    dense = size(model)
    _, mix = mixed(model)
    mix.set_levels([0.5, 0.25])
    assert (model.features[0].out_channels, model.features[3].out_channels) == (8, 12)
    assert size(model) < 0.5 * dense
    assert zeros(model) == round(0.25 * size(model))
    assert mix.compression_rate == pytest.approx(1 - 0.5 * (1 - zeros(model) / size(model)))


def test_training_keeps_what_is_gone_gone() -> None:
    model = trained_model()
    controller, mix = mixed(model)
    mix.set_levels([0.25, 0.5])
    before = {name: value == 0 for name, value in weights(model).items()}
    trained_steps(controller, model)
    assert {name: value.shape for name, value in before.items()} == {
        name: value.shape for name, value in weights(model).items()
    }
    for name, value in weights(model).items():
        assert torch.equal(value == 0, before[name]), name


def test_optimizers_follow_from_one_layout_to_the_next() -> None:
    model = trained_model()
    controller, mix = mixed(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    controller.attach_optimizer(optimizer)
    for epoch, levels in enumerate(([0.0, 0.3], [0.25, 0.5], [0.5, 0.5], [0.25, 0.0])):
        mix.set_levels(levels, [optimizer])
        train(controller, model, epoch=epoch, optimizer=optimizer)
        assert zeros(model) == round(levels[1] * size(model))


def test_the_dense_weights_come_back() -> None:
    model = trained_model()
    dense = copy.deepcopy(model.state_dict())
    _, mix = mixed(model)
    for levels in ([0.5, 0.5], [0.25, 0.9], [0.5, 0.1]):
        mix.set_levels(levels)
        for name, value in mix.dense_tensors().items():
            assert torch.equal(value, dense[name]), name
        assert zeros(model) == round(levels[1] * size(model))
    mix.set_rate(0.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, dense[name]), name


def test_filters_are_judged_by_their_dense_weights() -> None:
    alone, together = trained_model(), trained_model()
    pruning, _ = create_compressed_model(alone, early_exit(PRUNING), EXAMPLE)
    pruning.compression_rate = 0.5
    _, mix = mixed(together)
    mix.set_levels([0.0, 0.95])
    mix.set_levels([0.5, 0.95])
    kept = pruning.algorithm.kept_masks()
    assert kept.keys() == mix.kept_masks().keys()
    for name, dims in kept.items():
        for dim, mask in dims.items():
            assert torch.equal(mask, mix.kept_masks()[name][dim])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_a_rate_is_shared_between_them(rate: float) -> None:
    controller, mix = mixed(trained_model())
    controller.compression_rate = rate
    assert controller.compression_rate == pytest.approx(rate, abs=0.05)
    assert mix.pruning.compression_rate == pytest.approx(1 - (1 - rate) ** 0.5, abs=0.05)


def test_where_pruning_can_not_take_its_half_sparsity_takes_the_rest() -> None:
    coarse = {**PRUNING, "params": {**PRUNING["params"], "channel_multiple": 8}}
    controller, mix = mixed(trained_model(), coarse, SPARSITY)
    assert mix.pruning.maximal_compression_rate == 1 - (8 + 8) / (16 + 24)
    for rate in (0.01, 0.5, 0.9, 0.97):
        controller.compression_rate = rate
        # Of what is asked for a layout of eighths may take more, but nothing takes less.
        assert controller.compression_rate >= min(rate, controller.maximal_compression_rate) - 1e-3
    assert controller.compression_rate == pytest.approx(0.97, abs=1e-3)


def test_a_state_is_brought_back_into_another_controller() -> None:
    model = trained_model()
    controller, mix = mixed(model)
    mix.set_levels([0.25, 0.5])
    trained_steps(controller, model)
    state = copy.deepcopy(controller.state_dict())
    dense = {name: value.clone() for name, value in mix.dense_tensors().items()}
    other = trained_model()
    fresh, others = mixed(other)
    others.set_levels([0.5, 0.1])
    fresh.load_state_dict(state)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert all(torch.equal(value, dense[name]) for name, value in others.dense_tensors().items())
    assert fresh.compression_rate == controller.compression_rate


def test_early_exit_ends_with_both_at_their_targets(tmp_path: Any) -> None:
    model = trained_model()
    baseline = accuracy(model)
    controller, mix = mixed(model, PRUNING, SPARSITY)
    loop = create_accuracy_aware_training_loop(
        early_exit([PRUNING, SPARSITY]), controller, baseline
    )
    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=accuracy,
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.003),
    )
    assert loop.result.within_budget
    assert mix.pruning.compression_rate == pytest.approx(0.4, abs=0.05)
    assert zeros(model) == round(0.5 * size(model))
    best = loop.result.best
    assert best is not None
    assert best.target_rate == pytest.approx(0.7)
    assert best.compression_rate == controller.compression_rate
    assert best.metric == accuracy(model)

    save_compressed(model, mix.kept_masks(), tmp_path / "model.pt")
    loaded = load_compressed(tmp_path / "model.pt", trained_model())
    assert accuracy(loaded) == best.metric
    assert zeros(loaded) == zeros(model)


def test_reasons_say_what_was_not_done() -> None:
    _, mix = mixed(
        trained_model(),
        {**PRUNING, "params": {**PRUNING["params"], "prune_first_conv": False}},
        {**SPARSITY, "ignored_scopes": ["classifier"]},
    )
    reasons = [(entry.layer, entry.reason) for entry in mix.excluded]
    assert any(layer == "features.0" and why.startswith("not pruned: ") for layer, why in reasons)
    assert [layer for layer, why in reasons if why.startswith("not made sparse: ")] == [
        "classifier"
    ]
