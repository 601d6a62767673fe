"""Norms of channels: frozen ones, norms without tensors, norms of groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from accaware.errors import CheckpointError
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from tests.pytorch.channels.odd_models import Graph, conv, head, plain
from tests.pytorch.channels.test_odd_models import check, image, pruned, reasons
from tests.pytorch.channels.zoo import prune as prune_filters


class Frozen(nn.Module):
    """A batch norm of buffers, its reciprocal root computed beforehand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def torchvisions_frozen(channels: int) -> nn.Module:
    norm = torchvision.ops.FrozenBatchNorm2d(channels)
    norm.bias.normal_()
    return norm


class OwnNorm(nn.InstanceNorm2d):
    """A norm with an activation of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class OwnBatchNorm(nn.BatchNorm2d):
    """A batch norm that computes by itself."""

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


class RootMeanSquare(nn.Module):
    """Over the channels, by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt() * self.scale


class GlobalResponse(nn.Module):
    """Each channel's norm by the mean of all channels' (Woo et al., "ConvNeXt V2", 2023)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        norms = x.norm(dim=(2, 3), keepdim=True)
        return x * (1 + self.scale * norms / (norms.mean(1, keepdim=True) + 1e-6))


class Last(nn.Module):
    """A norm of the last dimension, of channels in the second one."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return result


def round_trip(make: Callable[[], nn.Module], path: Path, inputs: Tensor) -> nn.Module:
    """A compressed model's file loads, and computes the same; the loaded one is given back."""
    torch.manual_seed(0)
    model = make()
    pruning = prune_filters(model, inputs[:1])
    pruning.set_rate(0.5, [])
    save_compressed(model, pruning.kept_masks(), path)
    torch.manual_seed(1)
    loaded = load_compressed(path, make())
    model.eval()
    loaded.eval()
    assert torch.equal(loaded(inputs), model(inputs))
    loaded.train()
    loaded(inputs).sum().backward()
    return loaded


@pytest.mark.parametrize("frozen", [Frozen, torchvisions_frozen])
def test_a_norm_of_buffers(frozen: Callable[[int], nn.Module], tmp_path: Path) -> None:
    pruning = check(plain(frozen(12), nn.ReLU()), image(2), unread=True)
    assert pruned(pruning) == {"0", "3"}
    loaded = round_trip(
        lambda: plain(frozen(12), nn.ReLU()), tmp_path / "model.pt", image(2).float()
    )
    assert loaded[1].bias.shape == loaded[1].running_var.shape == (loaded[0].out_channels,)


@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.InstanceNorm2d(12),
        lambda: OwnNorm(12),
        lambda: OwnBatchNorm(12),
        lambda: nn.InstanceNorm2d(12, track_running_stats=True),
        lambda: nn.InstanceNorm2d(12, affine=True, track_running_stats=True),
        lambda: nn.BatchNorm2d(12, affine=False, track_running_stats=False),
        lambda: nn.GroupNorm(12, 12, affine=False),
        lambda: nn.GroupNorm(12, 12),
    ],
)
def test_a_norm_counts_the_channels_that_it_has(
    norm: Callable[[], nn.Module], tmp_path: Path
) -> None:
    """A warning about the count would be an error here."""
    model = plain(norm())
    pruning = check(model, image(2))
    assert pruned(pruning) == {"0", "2"}
    count = "num_channels" if isinstance(model[1], nn.GroupNorm) else "num_features"
    pruning.set_rate(0.5, [])
    assert getattr(model[1], count) == model[0].out_channels < 12
    model(image(2))
    pruning.set_rate(0.0, [])
    assert getattr(model[1], count) == model[0].out_channels == 12
    loaded = round_trip(lambda: plain(norm()), tmp_path / "model.pt", image(2).float())
    assert getattr(loaded[1], count) == loaded[0].out_channels < 12


def test_one_norm_in_two_places_ties_their_channels() -> None:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = m.norm(m.first(x)).relu()
        return m.head(m.norm(m.second(y)).relu())

    model = Graph(
        forward, first=conv(3, 12), norm=nn.InstanceNorm2d(12), second=conv(12, 12), head=head(12)
    )
    pruning = check(model, image(2))
    assert [group.producers for group in pruning.groups] == [("first", "second")]
    pruning.set_rate(0.5, [])
    assert model.norm.num_features == model.first.out_channels == model.second.out_channels < 12


def test_a_count_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    round_trip(lambda: plain(nn.InstanceNorm2d(12)), path, image(2).float())
    with pytest.raises(CheckpointError, match="num_features: 12 channels in the file's dense"):
        load_compressed(path, plain(nn.InstanceNorm2d(16)))
    with pytest.raises(CheckpointError, match="num_features: not in the model"):
        load_compressed(path, plain(nn.ReLU()))


@pytest.mark.parametrize("affine", [True, False])
def test_a_group_norm_loses_whole_groups(affine: bool, tmp_path: Path) -> None:
    model = plain(nn.GroupNorm(4, 12, affine=affine), nn.ReLU())
    pruning = check(model, image(2))
    assert pruned(pruning) == {"0", "3"}
    pruning.set_rate(0.5, [])
    assert (model[1].num_groups, model[1].num_channels) == (2, 6)
    kept = pruning.kept_masks()["0.weight"][0].reshape(4, 3)
    assert torch.equal(kept.all(1), kept.any(1))
    pruning.set_rate(0.0, [])
    assert (model[1].num_groups, model[1].num_channels) == (4, 12)
    loaded = round_trip(
        lambda: plain(nn.GroupNorm(4, 12, affine=affine)), tmp_path / "model.pt", image(2).float()
    )
    assert (loaded[1].num_groups, loaded[1].num_channels) == (2, 6)


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        (nn.GroupNorm(1, 12), "1 (GroupNorm) normalises all channels together"),
        (Last(nn.LayerNorm(12)), "1.norm (LayerNorm) normalises each channel by its neighbours"),
        (Last(nn.RMSNorm(12)), "1.norm (RMSNorm) normalises each channel by its neighbours"),
        (RootMeanSquare(12), "1 (RootMeanSquare) mixes channels (mean)"),
        (GlobalResponse(12), "1 (GlobalResponse) mixes channels (mean)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_norm_of_all_channels_keeps_them(norm: nn.Module, reason: str) -> None:
    pruning = check(plain(norm), image(2))
    assert pruned(pruning) == {"2"}
    assert reasons(pruning)["0"] == reason


def test_groups_of_a_norm_across_two_producers_and_a_residual() -> None:
    def forward(m: Graph, x: Tensor) -> Tensor:
        both = m.norm(torch.cat([m.left(x), m.right(x)], 1)).relu()
        return m.head((m.other(m.whole(both)) + both).relu())

    model = Graph(
        forward, left=conv(3, 6), right=conv(3, 18), norm=nn.GroupNorm(6, 24),
        whole=conv(24, 24), other=nn.GroupNorm(3, 24), head=head(24),
    )  # fmt: skip
    pruning = check(model, image(2))
    assert pruned(pruning) == {"left", "right", "whole"}
    # Eight channels go together, the first eight of which the two producers share.
    assert [group.size for group in pruning.groups] == [3]
    pruning.set_rate(0.3, [])
    assert (model.norm.num_groups, model.other.num_groups) == (4, 2)


def test_groups_of_a_norm_with_what_has_to_stay() -> None:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = torch.cat([x[:, :1], m.first(x), x[:, 1:2]], 1)  # a channel of the image in each group
        return m.head(m.second(m.norm(y)).relu())

    model = Graph(
        forward, first=conv(3, 10), norm=nn.GroupNorm(2, 12), second=conv(12, 6), head=head(6)
    )
    pruning = check(model, image(2))
    assert reasons(pruning)["first"] == (
        "norm (GroupNorm) normalises them with something that has to stay"
    )


def test_other_groups_of_a_norm_go_beside_one_that_has_to_stay() -> None:
    def forward(m: Graph, x: Tensor) -> Tensor:
        y = torch.cat([m.first(x), x], 1)  # 9 channels, and the 3 of the image
        return m.head(m.second(m.norm(y)).relu())

    model = Graph(
        forward, first=conv(3, 9), norm=nn.GroupNorm(3, 12), second=conv(12, 6), head=head(6)
    )
    pruning = check(model, image(2))
    assert pruned(pruning) == {"first", "second"}
    pruning.set_rate(0.4, [])
    assert model.norm.num_groups == 2
    assert pruning.kept_masks()["first.weight"][0][8]


def test_a_grouped_convolution_before_a_group_norm() -> None:
    model = plain(nn.Conv2d(12, 24, 1, groups=6), nn.GroupNorm(3, 24), nn.Conv2d(24, 12, 1))
    pruning = check(model, image(2))
    assert {"0", "1"} <= pruned(pruning)
    pruning.set_rate(0.5, [])
    assert model[1].groups == 2 * model[2].num_groups
    assert model[1].out_channels == 8 * model[2].num_groups < 24


def test_optimizer_state_and_a_kept_state_follow_a_group_norm() -> None:
    model = plain(nn.GroupNorm(4, 12, affine=False))
    pruning = prune_filters(model, image(1).float())
    optimizer = torch.optim.Adam(model.parameters())
    model(image(2).float()).sum().backward()
    optimizer.step()
    pruning.set_rate(0.5, [optimizer])
    assert optimizer.state[model[0].weight]["exp_avg"].shape == model[0].weight.shape
    inputs = image(2).float()
    expected = model.eval()(inputs)
    state = pruning.state_dict()
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}
    pruning.set_rate(0.0, [optimizer])
    assert model[1].num_groups == 4
    pruning.load_state_dict(state, tensors)
    assert (model[1].num_groups, model[1].num_channels) == (2, 6)
    assert torch.equal(model(inputs), expected)
