"""Layers that a user registers: followed by what they say, and believed after they were tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from accaware.errors import UsageError
from accaware.pytorch import load_compressed, register_layer, save_compressed
from accaware.pytorch.model import registered
from tests.pytorch.channels.test_odd_models import check, pruned, reasons
from tests.pytorch.channels.zoo import prune


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    """What a test registers is forgotten behind it."""
    torch.manual_seed(0)
    before = dict(registered._REGISTERED)
    yield
    registered._REGISTERED.clear()
    registered._REGISTERED.update(before)


class Product(torch.autograd.Function):
    """x @ w.T by NumPy, where no torch function is seen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return torch.from_numpy(numpy.matmul(x.detach().numpy(), w.detach().numpy().T))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return gradient @ w, gradient.flatten(0, -2).T @ x.flatten(0, -2)


class Foreign(nn.Module):
    """A linear layer with a scale for each input, that insists on its own number of outputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.matrix = nn.Parameter(torch.randn(outputs, inputs))
        self.scale = nn.Parameter(torch.rand(inputs) + 0.5)
        self.offset = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Product.apply(x * self.scale, self.matrix)
        assert y.shape[-1] == self.outputs, f"{self.outputs} outputs were promised"
        return y + self.offset


def resized(layer: Foreign) -> None:
    layer.outputs = len(layer.matrix)


CLAIM: dict[str, Any] = {
    "reads": {"matrix": 1, "scale": 0},
    "makes": {"matrix": 0, "offset": 0},
    "resize": resized,
    "input_dim": -1,
    "output_dim": -1,
}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), Foreign(8, 7), nn.ReLU(), Foreign(7, 6), nn.Tanh(),
        nn.Linear(6, 2),
    )  # fmt: skip


def rows() -> Tensor:
    return torch.randn(4, 5, dtype=torch.float64)


def test_unregistered_it_stays() -> None:
    with pytest.raises(Exception, match="no filter"):
        prune(network().double(), rows())


def test_registered_it_is_pruned_and_told(tmp_path: Path) -> None:
    register_layer(Foreign, **CLAIM)
    model = network()
    pruning = check(model, rows(), unread=True)
    assert pruned(pruning) == {"0", "2.matrix", "4.matrix"}
    pruning.set_rate(0.5, [])
    assert model[2].outputs == len(model[2].offset) < 7
    assert len(model[2].scale) == model[0].out_features < 8
    save_compressed(model, pruning.kept_masks(), tmp_path / "model.pt")
    loaded = load_compressed(tmp_path / "model.pt", network().double())
    assert loaded[2].outputs == model[2].outputs
    x = rows()
    assert torch.equal(loaded(x), model(x))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such tensor": ({"reads": {"weight": 1}}, "it has no tensor weight"),
    "no such dimension": ({"makes": {"offset": 1}}, "offset has no dimension 1"),
    "dimensions the wrong way round": (
        {"reads": {"matrix": 0, "scale": 0}, "makes": {"matrix": 1, "offset": 0}},
        "has 7",
    ),
    "another dimension of the input": ({"input_dim": 3}, "its input has no dimension 3"),
    "a scale forgotten": ({"reads": {"matrix": 1}}, "scale"),
    "a number forgotten": ({"resize": None}, "outputs were promised"),
    "a resize that fails": ({"resize": lambda layer: layer.nothing}, "its resize fails"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_claim_is_refused_with_a_reason(name: str) -> None:
    claim, told = WRONG[name]
    register_layer(Foreign, **{**CLAIM, **claim})
    # What it says of a neighbour that nobody asked stays out of it.
    model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU(), *network()[2:])
    pruning = check(model, rows())
    assert "0" in pruned(pruning)
    assert "4.matrix" not in pruned(pruning)
    everything = str(reasons(pruning))
    assert told in everything, everything


class Mixer(nn.Module):
    """Channel by channel, as it is registered; in truth each one takes of its neighbour."""

    def __init__(self, honest: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(8) + 0.5)
        self.honest = honest

    def forward(self, x: Tensor) -> Tensor:
        scaled = x * self.scale
        return scaled if self.honest else scaled + scaled.roll(1, -1)


@pytest.mark.parametrize("honest", [True, False])
def test_channel_by_channel_or_not(honest: bool) -> None:
    register_layer(Mixer, reads={"scale": 0}, makes={"scale": 0}, input_dim=-1, output_dim=-1)
    model = nn.Sequential(
        nn.Linear(5, 8), Mixer(honest), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)
    )
    pruning = check(model, rows())
    assert pruned(pruning) == ({"0", "2"} if honest else {"2"})
    if not honest:
        assert "mixed with them" in reasons(pruning)["0"]


@pytest.mark.parametrize(
    ("register", "told"),
    [
        (lambda: register_layer(Foreign(1, 1), reads={"matrix": 1}), "no class of modules"),
        (lambda: register_layer(Foreign), "reads nothing and makes nothing"),
        (lambda: register_layer(Foreign, reads={"matrix": -1}), "counted from 0"),
        (lambda: register_layer(Foreign, makes={"matrix": True}), "counted from 0"),
        (lambda: register_layer(Foreign, makes={"matrix": 0}, input_dim="x"), "input_dim"),
        (lambda: register_layer(Foreign, makes={"matrix": 0}, resize=3), "can't be called"),
    ],
)
def test_what_no_layer_could_be_is_told_at_once(register: Callable[[], None], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        register()


def test_the_example_of_the_page() -> None:
    page = (Path(__file__).parents[4] / "docs" / "explained" / "layers.md").read_text(
        encoding="utf-8"
    )
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), names)
    layer = names["model"][2]
    assert f"# {layer.inputs} {layer.outputs}\n" in page
    assert layer.weight.shape == (layer.outputs, layer.inputs)
    names["model"](torch.randn(4, 8)).sum().backward()
    assert layer.weight.grad is not None
