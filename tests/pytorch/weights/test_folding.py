"""Layers that standardise their weights: told as they are, and compressed when they are folded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch import create_compressed_model, fold_computed_weights
from accaware.pytorch.model.function_mode import FunctionMode
from tests.pytorch.channels.odd_models import conv, head
from tests.pytorch.channels.test_computed_weights import Scaled, Standardised
from tests.pytorch.channels.test_odd_models import check, image, pruned
from tests.pytorch.training.scripts import early_exit

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SECTIONS: dict[str, dict[str, Any]] = {
    "magnitude_sparsity": {
        "algorithm": "magnitude_sparsity",
        "params": {"sparsity_target_epoch": 1, "sparsity_level_setting_mode": "local"},
    },
    "quantization": {
        "algorithm": "quantization",
        "initializer": {"range": {"num_init_samples": 2}},
    },
}
KINDS = pytest.mark.parametrize("kind", [Standardised, Scaled])


class Equalised(nn.Conv2d):
    """Its weight is scaled in each forward (Karras et al., 2018, section 4.1)."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * 0.2, self.bias, padding=1)


class PadsBySize(Standardised):
    """As TensorFlow's SAME: what is padded depends on the size of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, x.shape[-1] % 2, 0, 0)))


class ByInput(nn.Conv2d):
    """Its weight depends on what it is given (Yang et al., "CondConv", 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * x.mean(), self.bias, padding=1)


class ByMode(Standardised):
    """It does that in evaluation alone."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, None) if self.training else super().forward(x)


def network(kind: type[nn.Conv2d]) -> nn.Sequential:
    torch.manual_seed(0)
    own = kind(12, 8, 3, padding=1)
    return nn.Sequential(conv(3, 12), nn.Sigmoid(), own, nn.Tanh(), conv(8, 6), head(6)).eval()


def multiplied(model: nn.Module) -> Tensor:
    """What the third layer's convolution multiplies with, as torch sees it."""
    found: list[Tensor] = []

    class Seen(FunctionMode):
        def called(
            self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            if getattr(func, "__name__", "") == "conv2d":
                found.append(args[1])
            return func(*args, **kwargs)

    with torch.no_grad(), Seen():
        model(IMAGES)
    return found[1]


def compressed(model: nn.Module, algorithm: str) -> Any:
    data = [(IMAGES, torch.zeros(2, dtype=torch.int64))]
    controller, _ = create_compressed_model(model, early_exit(SECTIONS[algorithm]), IMAGES, data)
    return controller


@KINDS
@pytest.mark.parametrize("algorithm", SECTIONS)
def test_a_weight_that_is_mixed_is_listed_with_its_remedy(
    kind: type[nn.Conv2d], algorithm: str
) -> None:
    model = network(kind)
    before = model[2].weight.clone()
    reasons = {entry.layer: entry.reason for entry in compressed(model, algorithm).excluded}
    (listed,) = {name for name in reasons if name.startswith("2")}
    assert "fold_computed_weights" in reasons[listed]
    assert torch.equal(model[2].weight, before)


def test_a_weight_that_is_scaled_is_covered() -> None:
    model = network(Equalised)
    controller = compressed(model, "magnitude_sparsity")
    assert "2" not in {entry.layer for entry in controller.excluded}
    controller.compression_rate = 0.5
    zeros = model[2].weight == 0
    assert 0.2 < zeros.float().mean() < 0.8
    assert torch.equal(multiplied(model) == 0, zeros)


@KINDS
@pytest.mark.parametrize("training", [False, True])
def test_what_is_folded_computes_the_same(kind: type[nn.Conv2d], training: bool) -> None:
    model = network(kind).train(training)
    dense = copy.deepcopy(model)
    weight = multiplied(model)
    assert fold_computed_weights(model, IMAGES) == ("2",)
    assert type(model[2]) is nn.Conv2d
    assert torch.equal(model[2].weight, weight)
    assert model[2].weight.requires_grad
    assert all(module.training is training for module in model.modules())
    larger = torch.randn(2, 3, 11, 9)
    torch.testing.assert_close(model(larger), dense(larger))
    assert fold_computed_weights(model, IMAGES) == ()


@KINDS
def test_what_is_folded_loses_inputs_and_has_zeros_and_integers(kind: type[nn.Conv2d]) -> None:
    model = network(kind)
    fold_computed_weights(model, IMAGES)
    assert pruned(check(copy.deepcopy(model), image(2), unread=True)) == {"0", "2", "4"}
    for algorithm in SECTIONS:
        own = copy.deepcopy(model)
        controller = compressed(own, algorithm)
        assert not [entry for entry in controller.excluded if entry.layer.startswith("2")]
    sparse = copy.deepcopy(model)
    compressed(sparse, "magnitude_sparsity").compression_rate = 0.5
    assert 0.2 < (multiplied(sparse) == 0).float().mean() < 0.8


LEFT: dict[str, Callable[[], nn.Module]] = {
    "it pads by its input's size": lambda: network(PadsBySize),
    "its weight depends on its input": lambda: network(ByInput),
    "it does so in one mode": lambda: network(ByMode),
    "its weight is scaled by nothing": lambda: network(type("Plain", (nn.Conv2d,), {
        "forward": lambda self, x: functional.conv2d(x, self.weight, self.bias, padding=1)
    })),
    "torch's own": lambda: network(nn.Conv2d),
    "it is the model": lambda: Standardised(3, 4, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_does_more_is_left_alone(name: str) -> None:
    model = LEFT[name]()
    before = dict(model.named_modules())
    assert fold_computed_weights(model, IMAGES) == ()
    assert dict(model.named_modules()) == before


def test_what_something_else_holds_on_to_is_left_alone() -> None:
    hooked, tied = network(Standardised), network(Standardised)
    hooked[2].register_forward_hook(lambda *_: None)
    tied.add_module("other", Standardised(6, 6, 3))
    tied.other.weight = nn.Parameter(tied[2].weight)
    tied[2].weight = tied.other.weight
    del tied[5], tied[4]
    for model in (hooked, tied):
        assert fold_computed_weights(model, IMAGES) == ()
