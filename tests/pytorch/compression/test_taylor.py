"""Taylor importance: seen from the steps of any training, through layouts, files and processes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import create_accuracy_aware_training_loop
from accaware.errors import AccAwareWarning
from accaware.pytorch import create_compressed_model
from accaware.pytorch.builtin.digits import DigitsResNet
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.search.events import Event, Warned
from tests.pytorch.training.scripts import SPARSITY, early_exit
from tests.runners.torch_case import PRUNING, accuracy, digits, train, trained_model

EXAMPLE = ExampleInputs.of(torch.zeros(1, 1, 8, 8))
LAYERS = ("features.0", "features.3")


def by_taylor(model: nn.Module, **settings: Any) -> FilterPruning:
    return FilterPruning(
        model, Scopes(model, None, ()), EXAMPLE, importance="taylor", **{**ALL, **settings}
    )


ALL = {"prune_first_conv": True, "prune_downsample_convs": True}


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    images, classes = digits()
    return [
        (images[at * 32 : at * 32 + 32], classes[at * 32 : at * 32 + 32]) for at in range(count)
    ]


def backward(model: nn.Module, batch: tuple[Tensor, Tensor], scale: float = 1.0) -> None:
    images, classes = batch
    model.zero_grad()
    (scale * nn.functional.cross_entropy(model(images), classes)).backward()


def steps(
    pruning: FilterPruning, count: int, optimizer: torch.optim.Optimizer | None = None
) -> None:
    model = pruning.compact.model
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        pruning.attach(optimizer)
    for batch in batches(count):
        backward(model, batch)
        optimizer.step()


def gates_of(model: nn.Module, readers: Sequence[Sequence[str]]) -> list[Tensor]:
    """For each group a gate on each of its channels, all open, where these layers read them."""
    gates = []
    for names in readers:
        layers = [model.get_submodule(name) for name in names]
        gates.append(torch.ones(layers[0].weight.shape[1], requires_grad=True))

        def gated(layer: nn.Module, args: tuple[Tensor, ...], gate: Tensor = gates[-1]) -> Tensor:
            return args[0] * (gate if args[0].dim() == 2 else gate[:, None, None])

        for layer in layers:
            layer.register_forward_pre_hook(gated)
    return gates


def residual() -> nn.Module:
    torch.manual_seed(0)
    return DigitsResNet(6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "readers"),
    [
        (trained_model, [["features.3"], ["classifier"]]),
        (
            residual,
            [
                ["blocks.0.conv1", "blocks.1.conv1", "blocks.1.shortcut.0"],
                ["blocks.0.conv2"],
                ["blocks.1.conv2"],
                ["blocks.2.conv1", "blocks.2.shortcut.0"],
                ["blocks.2.conv2"],
                ["classifier"],
            ],
        ),
    ],
)
def test_it_is_the_squared_derivative_by_a_gate_on_a_channel(
    make: Callable[[], nn.Module], readers: list[list[str]], training: bool
) -> None:
    """Averaged over steps, each in units of its mean: equation 8 of the paper, and its gates."""
    model = make().train(training)
    pruning = by_taylor(model)
    gates = gates_of(model, readers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    pruning.attach(optimizer)
    filters = torch.cat([group.filters_per_channel() for group in pruning.groups]).sum()
    expected = []
    for batch in batches(5):
        for gate in gates:
            gate.grad = None
        backward(model, batch)
        squares = torch.cat([gate.grad.square() for gate in gates])
        expected.append(squares * filters / squares.sum())
        optimizer.step()
    found = torch.cat(pruning.importances())
    assert torch.allclose(found, torch.stack(expected).mean(0), rtol=1e-3, atol=1e-6)


def test_until_a_step_was_seen_it_is_l2_and_that_is_said() -> None:
    pruning = by_taylor(trained_model())
    plain = FilterPruning(model := trained_model(), Scopes(model, None, ()), EXAMPLE, **ALL)
    pairs = zip(pruning.importances(), plain.importances(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    pruning.set_rate(0.0)
    assert not pruning.warnings()
    pruning.set_rate(0.5)
    (said,) = pruning.warnings()
    assert "filter_importance taylor" in said
    assert "L2" in said
    steps(seen := by_taylor(trained_model()), 1)
    seen.set_rate(0.5)
    assert not seen.warnings()


@pytest.mark.parametrize("fused", [False, True])
def test_neither_a_scaled_loss_nor_a_gradient_that_is_not_finite_counts(fused: bool) -> None:
    """A fused optimizer sees the gradients before GradScaler's scale is taken off."""
    plain, scaled = by_taylor(trained_model()), by_taylor(trained_model())
    for pruning, scale in ((plain, 1.0), (scaled, 2.0**14)):
        model = pruning.compact.model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, fused=fused)
        pruning.attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
        for at, (images, classes) in enumerate(batches(4)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), classes)
            scaler.scale(loss).backward()
            if scale > 1 and at == 3:
                model.features[3].weight.grad[0, 0, 0, 0] = torch.inf
            elif at == 3:
                break
            scaler.step(optimizer)
            scaler.update()
    for mine, theirs in zip(plain.importances(), scaled.importances(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4)


def test_what_only_frozen_layers_read_is_judged_by_its_weights() -> None:
    model = trained_model()
    pruning = by_taylor(model)
    model.features[3].weight.requires_grad_(False)
    steps(pruning, 3)
    first, second = pruning.importances()
    norms = model.features[0].weight.detach().flatten(1).norm(dim=1)
    assert torch.allclose(first, norms / norms.square().mean().sqrt())
    assert second.mean() == pytest.approx(1, rel=1e-4)


def test_removed_filters_keep_what_they_had_and_the_others_go_on() -> None:
    model = trained_model()
    pruning = by_taylor(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    pruning.attach(optimizer)
    steps(pruning, 3, optimizer)
    before = pruning.importances()
    pruning.set_rate(0.5, [optimizer])
    steps(pruning, 3, optimizer)
    layouts = zip(pruning.compact.layout.kept, before, pruning.importances(), strict=True)
    for kept, then, now in layouts:
        assert torch.equal(then[~kept], now[~kept])
        assert (then[kept] != now[kept]).all()
    pruning.set_rate(0.0, [optimizer])
    steps(pruning, 2, optimizer)
    for then, now in zip(before, pruning.importances(), strict=True):
        assert (then != now).all()


def test_filters_that_went_before_the_first_step_come_below_all_others() -> None:
    model = trained_model()
    pruning = by_taylor(model)
    pruning.set_rate(0.5)
    steps(pruning, 2)
    norms = [
        pruning.compact.dense_tensors()[f"{name}.weight"].flatten(1).norm(dim=1) for name in LAYERS
    ]
    layouts = zip(pruning.compact.layout.kept, pruning.importances(), norms, strict=True)
    for kept, scores, lengths in layouts:
        assert scores[~kept].max() < scores[kept].min()
        assert torch.equal(scores[~kept].argsort(), lengths[~kept].argsort())


def test_a_state_goes_on_to_the_bit() -> None:
    first = by_taylor(trained_model())
    optimizer = torch.optim.SGD(first.compact.model.parameters(), lr=0.02)
    first.attach(optimizer)
    steps(first, 3, optimizer)
    first.set_rate(0.4, [optimizer])
    steps(first, 2, optimizer)
    tensors = copy.deepcopy(first.compact.model.state_dict())
    state = copy.deepcopy(first.state_dict())
    second = by_taylor(trained_model())
    second.load_state_dict(state, tensors)
    second.compact.model.load_state_dict(tensors)
    for pruning in (first, second):
        steps(pruning, 3) if pruning is second else steps(pruning, 3, optimizer)
    for mine, theirs in zip(first.importances(), second.importances(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_filter_that_nothing_depends_on_goes_first_however_large_it_is() -> None:
    model = trained_model()
    with torch.no_grad():
        model.features[0].weight[3] *= 10
        model.features[3].weight[:, 3] = 0
    pruning = by_taylor(model)
    steps(pruning, 1)
    pruning.set_rate(0.1)
    assert not pruning.compact.layout.kept[0][3]


TAYLOR = {**PRUNING, "params": {**PRUNING["params"], "filter_importance": "taylor"}}
DELAYED = {**TAYLOR, "params": {**TAYLOR["params"], "num_init_steps": 1}}


@pytest.mark.parametrize(("section", "said"), [(TAYLOR, 1), (DELAYED, 0)])
def test_a_search_tells_once_that_there_was_no_gradient(section: Any, said: int) -> None:
    model = trained_model()
    config = early_exit(section, maximal_absolute_accuracy_degradation=0, maximal_total_epochs=3)
    controller, _ = create_compressed_model(model, config, EXAMPLE.args)
    events: list[Event] = []

    class Seen:
        def notify(self, event: Event) -> None:
            events.append(event)

    loop = create_accuracy_aware_training_loop(config, controller, 1.0, observers=[Seen()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccAwareWarning)
        loop.run(
            model,
            train_epoch_fn=train,
            validate_fn=accuracy,
            configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.003),
        )
    told = [event.message for event in events if isinstance(event, Warned)]
    assert len(told) == said
    assert all("filter_importance taylor" in message for message in told)


@pytest.mark.parametrize(
    "beside",
    [[], [SPARSITY], [{"algorithm": "quantization"}], [SPARSITY, {"algorithm": "quantization"}]],
    ids=["alone", "sparsity", "quantization", "both"],
)
def test_it_is_seen_whatever_else_compresses_the_model(beside: list[dict[str, Any]]) -> None:
    model, (images, classes) = trained_model(), digits()
    data = [(images[:64], classes[:64])]
    config = early_exit([TAYLOR, *beside])
    controller, _ = create_compressed_model(model, config, EXAMPLE.args, data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    controller.attach_optimizer(optimizer)
    if beside:
        controller.compression_rate = 0.1  # so that there are zeros, and rounded weights
        assert controller.algorithm.warnings()
    train(controller, model, epoch=0, optimizer=optimizer)
    algorithm = controller.algorithm
    pruning = algorithm if isinstance(algorithm, FilterPruning) else algorithm.pruning
    first, second = pruning.importances()
    assert float(first.sum() + second.sum()) == pytest.approx(16 + 24, rel=0.1)
    weights = [model.features[at].weight.detach() for at in (0, 3)]
    lengths = torch.cat([weight.flatten(1).norm(dim=1) for weight in weights])
    if len(lengths) == 40:
        assert not torch.equal(torch.cat([first, second]).argsort(), lengths.argsort())
    controller.compression_rate = 0.5
    assert not controller.algorithm.warnings()
    train(controller, model, epoch=1, optimizer=optimizer)
