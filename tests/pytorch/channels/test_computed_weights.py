"""Weights that are computed in each forward: pruned along what they are computed from, or told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from accaware.errors import CompressionError
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from tests.pytorch.channels.masked import Masked, assert_near
from tests.pytorch.channels.odd_models import Graph, conv, head
from tests.pytorch.channels.test_norms import round_trip
from tests.pytorch.channels.test_odd_models import check, image, pruned, reasons
from tests.pytorch.channels.zoo import prune as prune_filters

Change = Callable[[nn.Module], nn.Module]

# Torch warns of its own older form.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def network(change: Change) -> nn.Sequential:
    """Every kind of layer, each with its weight changed."""
    layers = [
        conv(3, 12), conv(12, 8), nn.ConvTranspose2d(8, 6, 2, 2), conv(6, 6, groups=6),
        nn.Conv2d(6, 12, 1, groups=2),
    ]  # fmt: skip
    between = [nn.Tanh(), nn.BatchNorm2d(8), nn.Sigmoid(), nn.Tanh(), nn.AdaptiveAvgPool2d(2)]
    steps = [step for pair in zip(map(change, layers), between, strict=True) for step in pair]
    return nn.Sequential(*steps, nn.Flatten(), change(nn.Linear(48, 3)))


NORMS: dict[str, Change] = {
    "of each filter": parametrizations.weight_norm,
    "of each input": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "of all": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "by a hook": weight_norm,
    "of all by a hook": lambda layer: weight_norm(layer, dim=None),
}
ALL = {"0", "2", "4", "6", "8"}


def without_norms(model: nn.Module) -> nn.Module:
    """A network in which the same weights are ordinary ones."""
    plain = network(lambda layer: layer).double()
    plain.load_state_dict(
        {
            name: weights(model)[name.removesuffix(".weight")]
            if name.endswith(".weight")
            else model.state_dict()[name]
            for name in plain.state_dict()
        }
    )
    return plain


def plain_masks(kept: Mapping[str, Mapping[int, Tensor]]) -> dict[str, Mapping[int, Tensor]]:
    """The masks by the names of ordinary weights."""
    origins = ("weight_v", "parametrizations.weight.original1")
    masks = dict(kept)
    for name in kept:
        for origin in origins:
            if name.endswith(origin):
                masks[name.removesuffix(origin) + "weight"] = masks.pop(name)
    return masks


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What the layers multiply with, as of their last forward."""
    return {
        name: module.weight.detach().clone()
        for name, module in model.named_children()
        if isinstance(getattr(module, "weight", None), Tensor)
    }


@pytest.mark.parametrize("name", NORMS)
def test_weight_norm_loses_filters_and_inputs(name: str, tmp_path: Path) -> None:
    model = network(NORMS[name]).double()
    x = image(2)
    with torch.no_grad():
        model.eval()(x)  # the hook's weights are in double precision from now on, and can be copied
    plain, state = without_norms(model), copy.deepcopy(model.state_dict())
    pruning = prune_filters(model, x[:1])
    assert pruned(pruning) == ALL
    for rate in (0.4, 1.0, 0.2):
        pruning.set_rate(rate, [])
        masks = plain_masks(pruning.kept_masks())
        assert len(masks["0.weight"]) == 1
        assert len(masks["2.weight"]) == 2
        for training in (False, True):
            # Statistics of a batch norm are of what is made of the whole weights.
            masked = Masked(plain, plain.state_dict(), masks, unread=True).model.train(training)
            with torch.no_grad():
                assert_near(model.train(training)(x), masked(x), 1e-12, f"at {rate}")
        model.load_state_dict({**model.state_dict(), **_statistics(state, pruning)})
    pruning.set_rate(0.0, [])
    for key, tensor in model.state_dict().items():
        assert "running" in key or torch.equal(tensor, state[key]) or "num_" in key, key
    loaded = round_trip(lambda: network(NORMS[name]), tmp_path / "model.pt", image(2).float())
    assert loaded[0].out_channels == loaded[2].in_channels < 12


def _statistics(state: Mapping[str, Tensor], pruning: FilterPruning) -> dict[str, Tensor]:
    masks = pruning.kept_masks()
    return {
        key: tensor[masks[key][0]] if key in masks else tensor
        for key, tensor in state.items()
        if "running" in key
    }


def test_trained_weights_stay_what_they_are_when_channels_come_back() -> None:
    model = network(parametrizations.weight_norm).double()
    pruning = prune_filters(model, image(1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    pruning.set_rate(0.5, [optimizer])
    for _ in range(3):
        optimizer.zero_grad()
        model(image(2)).square().sum().backward()
        optimizer.step()
    trained, masks = weights(model), plain_masks(pruning.kept_masks())
    for rate in (0.7, 0.0):
        pruning.set_rate(rate, [optimizer])
    for name, weight in weights(model).items():
        for dim, mask in masks.get(f"{name}.weight", {}).items():
            weight = weight.index_select(dim, mask.nonzero().flatten())
        torch.testing.assert_close(weight, trained[name], rtol=1e-12, atol=0)


def test_filters_are_ranked_by_the_weights_and_not_by_their_directions() -> None:
    model = nn.Sequential(parametrizations.weight_norm(conv(3, 12)), nn.Tanh(), conv(12, 4))
    norm = model[0].parametrizations.weight
    with torch.no_grad():
        norm.original0[::2] /= 100
        norm.original1[::2] *= 100
    pruning = prune_filters(model, image(1).float())
    pruning.set_rate(0.5, [])
    kept = pruning.kept_masks()["0.parametrizations.weight.original1"][0]
    assert torch.equal(kept.nonzero().flatten(), torch.arange(1, 12, 2))


class Standardised(nn.Conv2d):
    """Each filter's weights are standardised in each forward (Qiao et al., 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias, padding=1, groups=self.groups)


class Scaled(nn.Conv2d):
    """The same by a batch norm, with a gain for each filter (Brock et al., 2021)."""

    def __init__(self, *args: int, **more: int) -> None:
        super().__init__(*args, **more)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        gain = (self.gain * 0.3).view(-1)
        weight = functional.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0)
        weight = weight.reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, padding=1, groups=self.groups)


@pytest.mark.parametrize("kind", [Standardised, Scaled])
def test_standardised_filters_go_and_what_they_read_stays(
    kind: type[nn.Conv2d], tmp_path: Path
) -> None:
    def make() -> nn.Module:
        return nn.Sequential(
            conv(3, 12), nn.ReLU(), kind(12, 8, 3), nn.Sigmoid(), conv(8, 6), nn.ReLU(), head(6)
        )

    pruning = check(make(), image(2), unread=True)
    assert pruned(pruning) == {"2", "4"}
    assert reasons(pruning)["0"].startswith(
        f"2 ({kind.__name__}) reads them, and its forward computes the weight of all of them "
        "together ("
    )
    assert "a plain Conv2d that holds the computed weight" in reasons(pruning)["0"]
    loaded = round_trip(make, tmp_path / "model.pt", image(2).float())
    assert loaded[2].out_channels == loaded[4].in_channels < 8


@pytest.mark.parametrize("kind", [Standardised, Scaled])
def test_a_standardised_layer_of_groups_loses_them_with_what_they_read(
    kind: type[nn.Conv2d],
) -> None:
    model = nn.Sequential(
        conv(3, 12), nn.ReLU(), kind(12, 24, 3, groups=4), nn.ReLU(), conv(24, 6), head(6)
    )
    pruning = check(model, image(2), unread=True)
    assert pruned(pruning) == {"0", "2", "4"}
    pruning.set_rate(0.5, [])
    assert model[2].groups == model[0].out_channels // 3 == model[4].in_channels // 6 < 4


def test_what_works_element_by_element_leaves_both_sides_free() -> None:
    """As an equalised learning rate does."""

    def forward(m: Graph, x: Tensor) -> Tensor:
        y = functional.linear(x.mean((2, 3)), m.first.weight * 0.2, m.first.bias).relu()
        return m.last(functional.linear(y, m.second.weight.tanh(), m.second.bias).relu())

    layers = {"first": nn.Linear(3, 16), "second": nn.Linear(16, 12), "last": nn.Linear(12, 3)}
    pruning = check(Graph(forward, **layers), image(2))
    assert pruned(pruning) == {"first", "second"}


REMEDIES: dict[str, tuple[Callable[[nn.Module], object], tuple[str, ...]]] = {
    "spectral_norm": (parametrizations.spectral_norm, ("SpectralNorm", "remove_parametrizations")),
    "orthogonal": (parametrizations.orthogonal, ("Orthogonal", "remove_parametrizations")),
    "hook": (nn.utils.spectral_norm, ("SpectralNorm", "remove_spectral_norm")),
    "mask": (
        lambda layer: prune.l1_unstructured(layer, "weight", 2),
        ("L1Unstructured", "prune.remove"),
    ),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_a_weight_that_mixes_filters_is_named_with_its_remedy(name: str) -> None:
    change, words = REMEDIES[name]

    def make() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(
            conv(3, 12), nn.ReLU(), conv(12, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), head(6)
        )
        with torch.no_grad():
            change(model[2])
        return model

    found = reasons(prune_filters(make().eval(), image(1).float()))
    for word in words:
        assert word in found["2"]
        assert word in found["0"]
    assert found["2"].startswith("its weight is")
    assert found["0"].startswith("2 (")


def test_a_large_grouped_layer_with_a_computed_weight() -> None:
    """So large that a trial in double precision leaves what its weight is made of in single."""
    grouped = parametrizations.weight_norm(nn.Conv2d(64, 64, 4, groups=4))
    model = nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, 64), grouped, head(64))
    pruning = prune_filters(model.eval(), image(1).float())
    assert pruned(pruning) == {"0", "2", "3"}
    pruning.set_rate(0.5, [])
    assert model[3].groups < 4


def test_the_remedy_of_a_parametrization_is_one() -> None:
    model = nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, 8), nn.ReLU(), head(8))
    parametrizations.spectral_norm(model[2])
    parametrize.remove_parametrizations(model[2], "weight")
    assert pruned(check(model, image(2))) == {"0", "2"}


def test_a_model_of_computed_weights_alone_is_refused_with_the_remedy() -> None:
    model = nn.Sequential(conv(3, 12), nn.ReLU(), conv(12, 8))
    for layer in (model[0], model[2]):
        parametrizations.spectral_norm(layer)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CompressionError, match="remove_parametrizations"):
        prune_filters(model, image(1).float())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
