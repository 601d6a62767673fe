"""Functions between layers: what works channel by channel is pruned, what mixes them is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from tests.pytorch.channels.odd_models import conv, head
from tests.pytorch.channels.test_odd_models import check, image, pruned, reasons

Function = Callable[[Tensor], Tensor]

# Fixed, so that they are the same for every batch.
_PLACES = torch.rand(1, 5, 6, 2, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
_BOX = torch.tensor([[1.0, 1.0, 6.0, 6.0], [0.0, 2.0, 5.0, 7.0]], dtype=torch.float64)
_MIXER = torch.rand(64, 49, generator=torch.Generator().manual_seed(2)).double()
_ORDER = torch.tensor([3, 0, 7, 1, 1])


class Between(nn.Module):
    """Two layers, a function of what the second one makes, and a reader."""

    def __init__(self, function: Function, width: int = 12) -> None:
        super().__init__()
        self.first, self.second = conv(3, 6), conv(6, width)
        self.reader, self.head = nn.LazyConv2d(5, 1), head(5)
        self.function = function
        self.double()(image(1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(self.second(self.first(x).relu()))
        result: Tensor = self.head(self.reader(y).relu())
        return result


def _unpooled(y: Tensor) -> Tensor:
    pooled, places = functional.max_pool2d(y, 2, return_indices=True)
    return functional.max_unpool2d(pooled, places, 2)


def _attended(y: Tensor) -> Tensor:
    tokens = y.flatten(2).transpose(1, 2)
    keys = _MIXER[:, :4].to(y).expand(len(y), -1, -1)
    result = functional.scaled_dot_product_attention(keys, keys, tokens)
    return result.transpose(1, 2).unflatten(2, (8, 8))


class Deformed(nn.Module):
    """A deformable convolution, which is told where to read by another one."""

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        self.offset = conv(channels, 18)
        self.layer = torchvision.ops.DeformConv2d(channels, 12, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x, self.offset(x))
        return result


def _swish_gated(y: Tensor) -> Tensor:
    gate, value = y.chunk(2, dim=1)
    return functional.silu(gate) * value


def _halves_by_size(y: Tensor) -> Tensor:
    half = y.shape[1] // 2
    return y[:, :half] * y[:, half:].sigmoid()


def _halves_by_rows(y: Tensor) -> Tensor:
    first, second = y.unflatten(1, (2, -1)).unbind(1)
    return first * second.sigmoid()


POSITIONS: dict[str, Function] = {
    "grid_sample": lambda y: functional.grid_sample(
        y, _PLACES.to(y).expand(len(y), -1, -1, -1), align_corners=False
    ),
    "roi_pool": lambda y: torchvision.ops.roi_pool(y, [_BOX.to(y)] * len(y), 3),
    "roi_align": lambda y: torchvision.ops.roi_align(y, [_BOX.to(y)] * len(y), 3),
    "max_unpool": _unpooled,
    "matmul": lambda y: (y.flatten(2) @ _MIXER.to(y)).unflatten(2, (7, 7)),
    "matmul from the left": lambda y: (
        (_MIXER.to(y).t() @ y.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (7, 7))
    ),
    "bmm": lambda y: torch.bmm(y.flatten(2), _MIXER.to(y).expand(len(y), -1, -1))[..., None],
    "einsum": lambda y: torch.einsum("nchw, wk -> nkhc", y, _MIXER[:8].to(y)).transpose(1, 3),
    "attention": _attended,
    "interpolate": lambda y: functional.interpolate(y, scale_factor=1.5, mode="bilinear"),
    "fft": lambda y: torch.fft.irfft2(torch.fft.rfft2(y).conj(), s=(8, 8)),
    "view_as_real": lambda y: torch.view_as_real(torch.fft.fft2(y)).sum(-1),
    "cumsum": lambda y: y.cumsum(2),
    "sort": lambda y: y.sort(3).values,
    "fold": lambda y: functional.fold(functional.unfold(y, 3, padding=1), (8, 8), 3, padding=1),
    "gather": lambda y: y.gather(3, y.argsort(3)),
    "gather at fixed places": lambda y: y.gather(2, _ORDER[:, None].expand(*y.shape[:2], -1, 8)),
    "take_along_dim": lambda y: y.take_along_dim(y.argmax(2, keepdim=True), 2),
    "indices": lambda y: y[:, :, _ORDER, 1:],
    "topk": lambda y: y.topk(4, dim=3).values,
    "padded by less than all and pooled": lambda y: functional.max_pool2d(
        functional.pad(y, (1, 1, 1, 1), value=-torch.inf), 3, 2
    ),
    "unfolded": lambda y: y.unfold(2, 3, 1).mean(-1),
    "padded and pooled": lambda y: functional.max_pool2d(functional.pad(y, (0, 1, 0, 1)), 2),
    "reflected and pooled": lambda y: functional.avg_pool2d(
        functional.pad(y, (1, 2, 3, 0), mode="reflect"), 3
    ),
    "cropped by padding": lambda y: functional.pad(y, (-1, -2, 0, -1)),
    "zeros beside it": lambda y: functional.max_pool2d(
        torch.cat([torch.zeros_like(y[..., :1]), y], 3), 3
    ),
    "padded and averaged": lambda y: functional.pad(y, (1, 1)).mean((2, 3))[..., None, None],
    "norm of positions": lambda y: functional.layer_norm(y, (8, 8)),
    "a look at the values": lambda y: y if bool(y.isfinite().all()) else y * 0,
    "sum along NumPy's axis": lambda y: y.sum(axis=-1)[..., None],
}


def loses_half(function: Function, path: Path, *, unread: bool = False) -> set[str]:
    """What can be pruned, after half of it went, was saved, loaded, and computed the same."""
    model = Between(function)
    dense, inputs = copy.deepcopy(model), image(2)
    pruning = check(model, inputs, unread=unread)
    pruning.set_rate(0.5, [])
    assert (model.first.out_channels, model.second.out_channels) == (3, 6)
    save_compressed(model, pruning.kept_masks(), path)
    loaded = load_compressed(path, dense)
    assert torch.equal(loaded.eval()(inputs), model.eval()(inputs))
    return pruned(pruning)


@pytest.mark.parametrize("name", POSITIONS)
def test_what_moves_or_mixes_positions_only(name: str, tmp_path: Path) -> None:
    layers = loses_half(POSITIONS[name], tmp_path / "model.pt")
    assert layers == {"first", "second", "reader"}


def test_channels_that_become_positions_go_together() -> None:
    model = Between(nn.PixelShuffle(2))
    pruning = check(model, image(2))
    assert pruned(pruning) == {"first", "second", "reader"}
    pruning.set_rate(0.5, [])
    assert model.second.out_channels == 4 * model.reader.in_channels < 12


GATES: dict[str, Function] = {
    "glu": lambda y: functional.glu(y, 1),
    "a module": nn.GLU(1),
    "swish": _swish_gated,
    "halves by size": _halves_by_size,
    "halves by rows": _halves_by_rows,
}


@pytest.mark.parametrize("name", GATES)
def test_halves_that_gate_each_other_lose_the_same(name: str) -> None:
    model = Between(GATES[name])
    pruning = check(model, image(2))
    assert pruned(pruning) == {"first", "second", "reader"}
    pruning.set_rate(0.5, [])
    first, second = pruning.kept_masks()["second.weight"][0].chunk(2)
    assert torch.equal(first, second)
    assert int(first.count_nonzero()) == 3 == model.reader.in_channels


@pytest.mark.parametrize(
    ("halves", "line"),
    [
        (lambda y: y[:, :6] * y[:, 6:].sigmoid(), "y[:, :6] * y[:, 6:].sigmoid()"),
        (lambda y: y.narrow(1, 0, 6) + y.narrow(1, 6, 6), "y.narrow(1, 0, 6) + y.narrow(1, 6, 6)"),
        (lambda y: torch.stack(y.split(6, 1)).prod(0), "torch.stack(y.split(6, 1)).prod(0)"),
    ],
    ids=["slices", "narrow", "split"],
)
def test_a_number_that_is_in_the_way_is_quoted(halves: Function, line: str) -> None:
    found = reasons(check(Between(halves), image(2)))["second"]
    assert found.startswith("the forward fails without its channels (")
    assert line in found


@pytest.mark.parametrize("groups", [1, 4])
def test_a_deformable_convolution_and_what_tells_it_where_to_read(groups: int) -> None:
    model = Between(Deformed(12, groups))
    pruning = check(model, image(2))
    assert pruned(pruning) == {"first", "second", "function.layer", "reader"}
    assert reasons(pruning)["function.offset"] == (
        "function.layer (DeformConv2d) looks for places by it (deform_conv2d)"
    )
    pruning.set_rate(0.5, [])
    assert model.function.layer.weight.shape[:2] == (6, 6 if groups == 1 else 3)
    assert model.second.out_channels == model.function.offset.in_channels == 6


class StarReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(0.9)), nn.Parameter(torch.tensor(-0.4))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.relu() ** 2 + self.shift


SOMETHING_OF_ZEROS: dict[str, Function] = {
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "hardsigmoid": functional.hardsigmoid,
    "exp": torch.exp,
    "learned affine": StarReLU(),
    "affine of positions": nn.LayerNorm(8),
    "constant": lambda y: torch.where(y > 0, y, 3.0),
    "constant border": nn.Sequential(nn.ConstantPad2d(1, 2.0), nn.AvgPool2d(2)),
    "border of a half": lambda y: functional.pad(y, (1, 1), value=0.5),
    "softmax over positions": lambda y: y.flatten(2).softmax(2).unflatten(2, (8, 8)),
    "row numbers": lambda y: y + torch.arange(8).to(y)[:, None],
    "logarithm": lambda y: y.abs().log(),
    "standardised without an epsilon": lambda y: (
        (y - y.mean((2, 3), keepdim=True)) / y.std((2, 3), keepdim=True)
    ),
}


@pytest.mark.parametrize("name", SOMETHING_OF_ZEROS)
def test_what_makes_something_of_zeros_channel_by_channel(name: str, tmp_path: Path) -> None:
    layers = loses_half(SOMETHING_OF_ZEROS[name], tmp_path / "model.pt", unread=True)
    assert layers == {"first", "second", "reader"}


def test_a_sum_over_channels_misses_none_that_is_zero() -> None:
    model = Between(lambda y: functional.normalize(y, dim=1) / y.norm(dim=1)[:, None])
    assert pruned(check(model, image(2))) == {"first", "second", "reader"}


def test_what_is_spread_over_others_stays_and_the_others_go() -> None:
    pruning = check(Between(lambda y: y[:, :1] + y), image(2), unread=True)
    assert pruned(pruning) == {"first", "second", "reader"}
    pruning.set_rate(0.5, [])
    kept = pruning.kept_masks()["second.weight"][0]
    assert kept[0]
    assert not kept.all()


MIXING: dict[str, Function] = {
    "softmax": lambda y: y.softmax(1),
    "cumsum": lambda y: y.cumsum(1),
    "sort": lambda y: y.sort(1).values,
    "topk": lambda y: y.topk(12, dim=1).values,
    "fft": lambda y: torch.fft.fft(y, dim=1).abs(),
    "sum of sigmoids": lambda y: y * y.sigmoid().sum(1)[:, None],
    "mean": lambda y: y - y.mean(1)[:, None],
    "sum beside it": lambda y: y + y.sum(1)[:, None],
    "product": lambda y: y * (1 + y.prod(1)[:, None]),
    "local response": nn.LocalResponseNorm(3, alpha=1.0),
    "ranks": lambda y: y * y.mean((2, 3)).argsort(1).argsort(1)[:, :, None, None].to(y),
    "the strongest one's number": lambda y: y + y.argmax(1, keepdim=True).to(y),
    "gather": lambda y: y.gather(1, torch.arange(12).flip(0)[:, None, None].expand(y.shape)),
    "products of channels": lambda y: (y.flatten(2) @ y.flatten(2).transpose(1, 2))[..., None],
    "looked up": lambda y: functional.embedding(
        y.clamp(0, 5).long(), torch.arange(6.0)[:, None].to(y)
    )[..., 0] + y,
    "group of all": nn.GroupNorm(1, 12),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_channels_is_found(name: str) -> None:
    pruning = check(Between(MIXING[name]), image(2))
    assert "second" in reasons(pruning)
    assert pruned(pruning) == {"first", "reader"}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 3.0])
def test_a_border_of_any_value_is_nobodys_number(value: float) -> None:
    """What lies around the second layer's channels, which mix, binds no other layer."""
    model = Between(lambda y: functional.pad(y, (1, 1, 0, 0, 2, 0), value=value).softmax(1))
    pruning = check(model, image(2))
    assert set(reasons(pruning)) == {"second", "head.2"}


def test_whole_numbers_are_nobodys_number() -> None:
    """Indices beside indices that were made of channels: they mean no filters of other layers."""

    def ranked(y: Tensor) -> Tensor:
        rows = y.flatten(2).transpose(1, 2)[0]
        if not bool(rows.isfinite().all()):
            raise ValueError("a look at the values: so they are there when this is traced")
        order = rows[:, 0].topk(len(rows)).indices
        ranks = torch.stack([torch.arange(len(rows))[order], torch.arange(len(rows)), order])
        return (rows + ranks.sum(0).to(y)[:, None]).t().unflatten(1, (8, 8))[None]

    pruning = check(Between(ranked), image(1), unread=True)
    assert "second" in reasons(pruning)
    assert pruned(pruning) == {"first", "reader"}
