"""What an inspection says is true, and leaves everything as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from accaware import AccAwareConfig
from accaware.errors import PluginFailure, UsageError
from accaware.plugins.plugin import Plugin
from accaware.pytorch import create_compressed_model
from accaware.pytorch.inspection import inspect
from accaware.results.inspection import Inspection
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive
from tests.runners.torch_case import TRAINING_IMAGES, digits, trained_model

DISTILLED = [
    {"algorithm": "quantization"},
    {"algorithm": "knowledge_distillation", "type": "mse"},
]


class Mine:
    """A trained network on the digits; the default training, and a count of its own."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = trained_model() if model is None else model
        self.trained = 0
        images, classes = digits()
        self.validation = TensorDataset(images[TRAINING_IMAGES:], classes[TRAINING_IMAGES:])
        self.training = TensorDataset(images[:TRAINING_IMAGES], classes[:TRAINING_IMAGES])

    def create_model(self) -> nn.Module:
        return self.model

    def create_datasets(self) -> tuple[TensorDataset, TensorDataset]:
        return self.training, self.validation

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.trained += 1
        return nn.functional.cross_entropy(outputs, targets)

    def state_dict(self) -> dict[str, Any]:
        return {"trained": self.trained}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trained = state["trained"]


def config(compression: Any = PRUNING, **changes: Any) -> AccAwareConfig:
    early_exit = {"maximal_absolute_accuracy_degradation": 1.0, "maximal_total_epochs": 3}
    training = {"mode": "early_exit", "params": early_exit}
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": training,
            "compression": compression,
            "device": "cpu",
            "batch_size": 50,
            **changes,
        }
    )


def inspected(
    compression: Any = PRUNING, mine: Any = None, samples: int | None = None, **changes: Any
) -> Inspection:
    return inspect(config(compression, **changes), Plugin("mine", mine or Mine()), samples=samples)


def by_flops(compression: dict[str, Any]) -> dict[str, Any]:
    params = {key: value for key, value in compression["params"].items() if key != "pruning_target"}
    return {**compression, "params": {**params, "pruning_flops_target": 0.4}}


@pytest.mark.parametrize(
    "compression",
    [
        PRUNING,
        {**PRUNING, "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 64}}},
        SPARSITY,
        [PRUNING, SPARSITY],
        [PRUNING, {"algorithm": "quantization"}],
        DISTILLED,
    ],
    ids=["pruning", "with adaptation", "sparsity", "both", "pruning to int8", "distilled int8"],
)
def test_everything_is_as_before_and_nothing_is_written(
    compression: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Mine()
    mine.model.features.eval()
    tensors = {name: value.clone() for name, value in mine.model.state_dict().items()}
    modes = [module.training for module in mine.model.modules()]
    # The seed is the config's, so what follows an inspection is what follows that seed.
    samples = None if compression is DISTILLED else 40
    inspected(compression, mine, samples, seed=7)
    drawn = torch.rand(2).tolist(), random.random(), float(np.random.rand())
    inspected(compression, Mine(), None, seed=7)
    assert drawn == (torch.rand(2).tolist(), random.random(), float(np.random.rand()))
    after = mine.model.state_dict()
    assert {name: value.shape for name, value in after.items()} == {
        name: value.shape for name, value in tensors.items()
    }
    assert all(torch.equal(value, after[name]) for name, value in tensors.items())
    # example_inputs() has set it to evaluate, as for a run.
    assert [module.training for module in mine.model.modules()] == [False] * len(modes)
    assert mine.trained == 0
    assert list(tmp_path.iterdir()) == []


def test_layers_parts_and_rates_of_filter_pruning() -> None:
    found = inspected()
    assert (found.model, found.algorithm, found.rate_of) == ("TinyNet", "filter_pruning", "filters")
    model = trained_model()
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    layers = {layer.name: layer for layer in found.layers}
    assert list(layers) == [
        name for name, module in model.named_modules() if not list(module.children())
    ]
    assert layers["features.3"].flops == 2 * 16 * 24 * 16 * 9
    assert sum(layer.flops for layer in found.layers) == found.flops
    assert all(layer.seconds is not None and layer.seconds > 0 for layer in found.layers)
    assert sum(layer.seconds or 0 for layer in found.layers) < 20 * found.forward_seconds
    assert [(part.name, part.size, part.least) for part in found.parts] == [
        ("features.0", 16, 1),
        ("features.3", 24, 1),
    ]
    assert [layers[name].part for name in ("features.0", "features.1", "features.3")] == [
        1,
        None,
        2,
    ]
    assert found.left_out == (("classifier", "its channels are the model's output"),)

    controller, model = create_compressed_model(trained_model(), adaptive(), EXAMPLE)
    assert found.maximal_rate == controller.maximal_compression_rate
    assert [cost.rate for cost in found.training] == [0, 0.25, 0.5, 0.75, found.maximal_rate]
    for cost in found.training:
        controller.compression_rate = cost.rate
        assert cost.achieved == controller.compression_rate
        assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert cost.flops == controller.sizes().flops.compressed
        assert cost.step_seconds is not None
        assert cost.epoch_seconds == cost.step_seconds * 24
    assert found.steps_per_epoch == 24

    # Without 8 of the first layer's filters: their weights, batch norm, and who reads them.
    assert found.parts[0].saved_parameters == (8 * 9 + 2 * 8 + 8 * 24 * 9) / found.parameters
    saved = 2 * 16 * (8 * 9 + 8 * 24 * 9)
    assert found.parts[0].saved_flops == pytest.approx(saved / found.flops)


def test_by_flops_the_rate_is_of_flops() -> None:
    found = inspected(by_flops(PRUNING))
    assert found.rate_of == "FLOPs"
    for cost in found.training:
        assert cost.achieved == pytest.approx(1 - cost.flops / found.flops, abs=1e-6)


def accuracy_on(model: nn.Module, indices: list[int]) -> float:
    images, classes = (part[TRAINING_IMAGES:][indices] for part in digits())
    with torch.no_grad():
        return 100 * float((model.eval()(images).argmax(1) == classes).double().mean())


def spread(count: int) -> list[int]:
    total = len(digits()[0]) - TRAINING_IMAGES
    return [at * total // count for at in range(count)]


def test_the_sensitivity_of_a_group_is_that_of_its_least_filters() -> None:
    found = inspected(samples=90).sensitivity
    assert found is not None
    assert (found.samples, found.shares) == (90, (0.1, 0.3, 0.5))
    assert found.baseline == pytest.approx(accuracy_on(trained_model(), spread(90)))
    for each, (conv, norm) in zip(found.parts, [(0, 1), (3, 4)], strict=True):
        for share, metric in zip(found.shares, each.metrics, strict=True):
            model = trained_model()
            weight = model.features[conv].weight
            order = weight.detach().flatten(1).norm(dim=1).argsort()
            gone = order[: int(share * len(order) + 0.5)]
            with torch.no_grad():
                model.features[norm].weight[gone] = 0
                model.features[norm].bias[gone] = 0
            assert metric == pytest.approx(accuracy_on(model, spread(90)))


def test_the_sensitivity_of_a_layer_is_that_of_its_least_weights() -> None:
    found = inspected(SPARSITY, samples=60)
    assert found.rate_of == "weights"
    assert [part.name for part in found.parts] == ["features.0", "features.3", "classifier"]
    assert found.sensitivity is not None
    for part, each in zip(found.parts, found.sensitivity.parts, strict=True):
        model = trained_model()
        weight = model.get_submodule(part.name).weight
        assert part.size == weight.numel()
        flat = weight.detach().flatten()
        with torch.no_grad():
            weight.view(-1)[flat.abs().argsort()[: round(0.5 * len(flat))]] = 0
        assert each.metrics[-1] == pytest.approx(accuracy_on(model, spread(60)))


class Loaders(Mine):
    """Data loaders, one of which can't be cut between two batches; validation divides by it."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.create_datasets = None  # type: ignore[assignment]

    def create_dataloaders(self) -> tuple[Any, Any]:
        validation = DataLoader(self.validation, 25)
        return DataLoader(self.training, 64), list(validation) if self.whole else validation

    def validate(self, model: nn.Module, loader: Any) -> float:
        model.eval()
        with torch.no_grad():
            right = sum(int((model(images).argmax(1) == true).sum()) for images, true in loader)
        return 100 * right / (len(loader) * 25 if self.whole else len(loader.dataset))


@pytest.mark.parametrize(("whole", "samples", "measured"), [(False, 30, 30), (True, 30, 50)])
def test_a_users_own_loader_is_cut_where_it_can_be(
    whole: bool, samples: int, measured: int
) -> None:
    found = inspected(mine=Loaders(whole), samples=samples).sensitivity
    assert found is not None
    assert found.samples == measured
    indices = list(range(measured)) if whole else spread(measured)
    assert found.baseline == pytest.approx(accuracy_on(trained_model(), indices))


def test_no_more_samples_than_there_are() -> None:
    found = inspected(samples=10**9).sensitivity
    assert found is not None
    assert found.samples == len(digits()[0]) - TRAINING_IMAGES


def test_what_a_layer_may_lose_is_told_with_the_parts() -> None:
    bounded = {**PRUNING["params"], "allocation": "global", "max_layer_pruning": 0.75}
    found = inspected({**PRUNING, "params": bounded})
    assert [(part.size, part.least) for part in found.parts] == [(16, 4), (24, 6)]
    assert found.maximal_rate == 0.75


def test_a_ranking_is_not_learned() -> None:
    learned = {**PRUNING["params"], "interlayer_ranking_type": "learned_ranking"}
    nncfs = {"all_weights": True, "coupled_importance": "sum", "max_layer_pruning": 1}
    across = {**PRUNING["params"], **nncfs}
    found, plain = (
        inspected({**PRUNING, "params": params}, mine=mine)
        for params, mine in ((learned, Mine()), (across, Mine()))
    )
    assert [cost.parameters for cost in found.training] == [
        cost.parameters for cost in plain.training
    ]


def test_quantization_alone_has_two_rates_and_no_parts() -> None:
    found = inspected(DISTILLED)
    assert (found.algorithm, found.rate_of, found.parts) == ("quantization", "bits", ())
    assert [cost.rate for cost in found.training] == [0, found.maximal_rate]
    with pytest.raises(UsageError, match="--samples measures how sensitive a model is to filter"):
        inspected(DISTILLED, samples=10)


def test_a_layer_that_is_called_twice_counts_both_and_one_that_is_not_has_no_time() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 8, 3, padding=1)
            self.again = nn.Conv2d(8, 8, 3, padding=1)
            self.never = nn.Linear(3, 3)
            self.last = nn.Linear(8, 10)
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            inner = self.again(self.again(self.first(images).relu()).relu())
            outputs: torch.Tensor = self.last(inner.mean((2, 3)) * self.scale)
            return outputs

    found = inspected(SPARSITY, Mine(Odd()))
    layers = {layer.name: layer for layer in found.layers}
    assert layers["again"].flops == 2 * 2 * 8 * 8 * 9 * 64
    assert layers["again"].seconds is not None
    assert layers["never"].seconds is None
    assert layers["Odd"].parameters == 1
    assert sum(layer.parameters for layer in found.layers) == found.parameters


def test_an_exception_of_the_users_is_theirs() -> None:
    class Broken(Mine):
        def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            raise ArithmeticError("mine")

    with pytest.raises(PluginFailure, match="loss raised ArithmeticError: mine"):
        inspected(mine=Broken())


def test_training_data_of_one_batch_and_of_unknown_length() -> None:
    class One(Mine):
        create_datasets = None  # type: ignore[assignment]

        def create_dataloaders(self) -> tuple[Any, Any]:
            images, classes = self.training[:64]

            class Endless:
                def __iter__(self) -> Iterator[Any]:
                    yield images, classes

            return Endless(), DataLoader(self.validation, 50)

    found = inspected(mine=One())
    assert found.steps_per_epoch is None
    assert all(cost.step_seconds is not None for cost in found.training)
    assert all(cost.epoch_seconds is None for cost in found.training)
