"""Attention heads go whole: their queries, keys, values, and what reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError
from accaware.pytorch import load_compressed, save_compressed
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from tests.pytorch.channels import attentions as kinds
from tests.pytorch.channels.attentions import HEADS, WIDTH, Tokens
from tests.pytorch.channels.test_odd_models import check, pruned, reasons
from tests.pytorch.channels.zoo import prune


def tokens(batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, 6, dtype=torch.float64)


WHOLE: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "packed": (kinds.PackedQkv, {"qkv"}),
    "packed, products": (lambda: kinds.PackedQkv(fused=False, bias=False), {"qkv"}),
    "packed, normalised": (lambda: kinds.PackedQkv(norm=True), {"qkv"}),
    "separate": (kinds.SeparateQkv, {"query", "key", "value"}),
    "separate, products": (lambda: kinds.SeparateQkv(fused=False), {"query", "key", "value"}),
    "a bias by its number of heads": (kinds.ZeroBias, {"query", "key", "value"}),
    "cross": (kinds.Cross, {"attend.query", "attend.key", "attend.value"}),
    "window": (kinds.Window, {"qkv"}),
    "window, mask": (lambda: kinds.Window(fused=True), {"qkv"}),
    "window, bias of a module": (
        kinds.WindowOfModules,
        {"qkv", "positions.mlp.0", "positions.mlp.2"},
    ),
    "grouped": (kinds.Grouped, {"q_proj", "k_proj", "v_proj"}),
    "grouped, expanded": (lambda: kinds.Grouped(how="expand"), {"q_proj", "k_proj", "v_proj"}),
    "grouped, by torch": (lambda: kinds.Grouped(how="enable_gqa"), {"q_proj", "k_proj", "v_proj"}),
    "one for all": (lambda: kinds.Grouped(kv_heads=1, per_group=5, how="no"), {"q_proj"}),
    "einsum": (kinds.Einsum, {"to_q", "to_kv"}),
    "covariance": (kinds.Covariance, {"qkv"}),
    "talking": (kinds.TalkingHeads, {"qk", "proj_l"}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_heads_are_removed_and_come_back(name: str) -> None:
    make, layers = WHOLE[name]
    pruning = check(Tokens(make()), tokens(), unread=True)
    assert pruned(pruning) == {f"attention.{layer}" for layer in layers}


def test_a_head_is_the_same_rows_of_queries_keys_and_values_and_columns_of_the_output() -> None:
    pruning = prune(Tokens(kinds.PackedQkv()), tokens().float())
    pruning.set_rate(0.4, [])
    kept = pruning.kept_masks()
    rows = kept["attention.qkv.weight"][0].view(3, HEADS, -1)
    heads = rows[0, :, 0]
    assert 0 < int(heads.sum()) < HEADS
    assert torch.equal(rows, heads[None, :, None].expand_as(rows))
    columns = kept["attention.proj.weight"][1].view(HEADS, -1)
    assert torch.equal(columns, heads[:, None].expand_as(columns))


def test_keys_and_values_go_with_all_of_their_queries() -> None:
    pruning = prune(Tokens(kinds.Grouped()), tokens().float())
    (group,) = pruning.groups
    assert group.size == 3
    pruning.set_rate(0.4, [])
    kept = {name: masks[0] for name, masks in pruning.kept_masks().items() if 0 in masks}
    queries = kept["attention.q_proj.weight"].view(3, 2 * 4)
    keys = kept["attention.k_proj.weight"].view(3, 4)
    assert torch.equal(queries.all(1), keys.all(1))
    assert torch.equal(queries.any(1), keys.any(1))


def test_where_heads_stay_their_values_lose_the_same_places() -> None:
    model = Tokens(kinds.HeadsThatStay(values=6))
    pruning = check(model, tokens())
    assert pruned(pruning) == {"attention.v"}
    (group,) = pruning.groups
    assert group.size == 6
    pruning.set_rate(0.4, [])
    kept = pruning.kept_masks()
    places = kept["attention.v.weight"][0].view(HEADS, 6)
    assert 0 < int(places[0].sum()) < 6
    assert torch.equal(places, places[:1].expand_as(places))
    assert torch.equal(kept["attention.proj.weight"][1].view(HEADS, 6), places)


def test_a_modules_own_numbers_follow_its_heads() -> None:
    model = Tokens(kinds.PackedQkv())
    pruning = prune(model, tokens().float())

    def numbers() -> tuple[int, ...]:
        attention = model.attention
        return attention.num_heads, attention.head_dim, attention.attn_dim

    for rate, heads in ((0.4, 3), (1.0, 1), (0.2, 4), (0.0, HEADS)):
        pruning.set_rate(rate, [])
        assert numbers() == (heads, WIDTH // HEADS, heads * WIDTH // HEADS)
        assert type(model.attention.num_heads) is int


def test_a_kept_state_brings_its_own_numbers() -> None:
    model = Tokens(kinds.PackedQkv()).eval()
    x = tokens().float()
    pruning = prune(model, x)
    optimizer = torch.optim.Adam(model.parameters())
    pruning.set_rate(0.6, [optimizer])
    model(x).sum().backward()
    optimizer.step()
    expected, state = model(x), pruning.state_dict()
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}
    pruning.set_rate(0.0, [optimizer])
    assert model.attention.num_heads == HEADS
    pruning.load_state_dict(state, tensors)
    assert (model.attention.num_heads, model.attention.attn_dim) == (2, 8)
    assert torch.equal(model(x), expected)


def test_a_saved_model_has_its_own_numbers(tmp_path: Path) -> None:
    model = Tokens(kinds.PackedQkv())
    pruning = prune(model, tokens().float())
    pruning.set_rate(0.4, [])
    save_compressed(model, pruning.kept_masks(), tmp_path / "model.pt")
    fresh = load_compressed(tmp_path / "model.pt", Tokens(kinds.PackedQkv()))
    assert (fresh.attention.num_heads, fresh.attention.attn_dim) == (3, 12)
    x = tokens().float()
    assert torch.equal(fresh.eval()(x), model.eval()(x))


def test_a_saved_model_fits_none_with_another_number_of_heads(tmp_path: Path) -> None:
    model = Tokens(kinds.PackedQkv())
    pruning = prune(model, tokens().float())
    pruning.set_rate(0.4, [])
    save_compressed(model, pruning.kept_masks(), tmp_path / "model.pt")
    other = Tokens(kinds.PackedQkv())
    other.attention.num_heads, other.attention.head_dim = 2, WIDTH // 2
    with pytest.raises(CheckpointError, match=r"num_heads: 5 channels in the file.*, 2 in this"):
        load_compressed(tmp_path / "model.pt", other)
    other.attention.num_heads = "five"
    with pytest.raises(CheckpointError, match="num_heads: not in the model"):
        load_compressed(tmp_path / "model.pt", other)


@pytest.mark.parametrize(
    ("make", "layer", "reason"),
    [
        (kinds.HardCoded, "qkv", r"invalid for input .*, at y = .*reshape\(b, n, c\) in attent"),
        (kinds.ByConfiguration, "qkv", r'at qkv = .*self\.config\["heads"\]'),
        (kinds.TorchsOwn, "attend.out_proj", r"as wide as what it reads \(embed_dim\)"),
    ],
)
def test_a_width_that_does_not_follow_is_named(
    make: Callable[[], nn.Module], layer: str, reason: str
) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), Tokens(make()))
    pruning = check(model, tokens())
    assert pruned(pruning) == {"0", "2"}
    assert re.search(reason, reasons(pruning)[f"3.attention.{layer}"])


class Given:
    """By itself it doesn't run: what it takes is given to it for one time."""

    tokens: list[Tensor]

    def forward(self) -> Tensor:
        result: Tensor = super().forward(self.tokens.pop())  # type: ignore[misc]
        return result


class GivenHardCoded(Given, kinds.HardCoded):
    pass


class GivenPacked(Given, kinds.PackedQkv):
    pass


class Giving(nn.Module):
    def __init__(self, attention: Given) -> None:
        super().__init__()
        self.within = attention
        self.within.tokens = []

    def forward(self, x: Tensor) -> Tensor:
        self.within.tokens.append(x)
        result: Tensor = self.within()  # type: ignore[operator]
        return result


def test_of_many_alike_each_is_judged_by_itself() -> None:
    """Where some of a kind failed, the others are tried in their own module first."""
    names = ("HardCoded", "HardCoded", "PackedQkv", "HardCoded", "HardCoded")
    model = Tokens(nn.Sequential(*(getattr(kinds, name)() for name in names)))
    pruning = check(model, tokens())
    assert pruned(pruning) == {"attention.1.proj", "attention.2.qkv"}
    for block in (0, 1, 3, 4):
        assert "at y = " in reasons(pruning)[f"attention.{block}.qkv"]


def test_a_module_that_is_not_itself_without_the_others_is_judged_with_them() -> None:
    attentions = (GivenHardCoded(), GivenHardCoded(), GivenPacked())
    model = Tokens(nn.Sequential(*map(Giving, attentions)))
    pruning = check(model, tokens())
    assert "attention.2.within.qkv" in pruned(pruning)
    assert "at y = " in reasons(pruning)["attention.1.within.qkv"]


@pytest.mark.parametrize("part", ["query", "key", "value", "dense"])
@pytest.mark.parametrize("across_layers", [False, True])
def test_a_head_matters_as_much_as_all_four_projections(part: str, across_layers: bool) -> None:
    model = Tokens(kinds.SeparateQkv())
    weight = getattr(model.attention, part).weight.data
    for each in (model.attention.query, model.attention.key, model.attention.value):
        nn.init.ones_(each.weight)
    nn.init.ones_(model.attention.dense.weight)
    dim = int(part == "dense")
    sizes = torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0]).repeat_interleave(WIDTH // HEADS)
    weight *= sizes.unsqueeze(1 - dim)
    pruning = prune(model, tokens().float(), across_layers=across_layers)
    (importances,) = pruning.importances()
    assert importances.argsort().tolist() == [1, 3, 0, 4, 2]


def test_the_channel_multiple_is_of_filters_and_not_of_heads() -> None:
    model = Tokens(kinds.PackedQkv())
    example = ExampleInputs.of(tokens().float())
    pruning = FilterPruning(model, Scopes(model, None, ()), example, multiple=8)
    for rate, heads in ((0.2, 4), (0.3, 2), (1.0, 2)):
        pruning.set_rate(rate, [])
        assert model.attention.num_heads == heads


def test_heads_and_hidden_units_of_a_users_own_matrices() -> None:
    """Also where a layer isn't PyTorch's, and its filters lie along the second dimension."""
    hidden = nn.Sequential(kinds.Matrix(WIDTH, 32), nn.GELU(), kinds.Matrix(32, WIDTH))
    model = Tokens(nn.Sequential(kinds.ByMatrices(), hidden))
    pruning = check(model, tokens(), unread=False)
    assert pruned(pruning) == {"attention.0.c_attn", "attention.1.0", "attention.0.c_proj"}
    pruning.set_rate(0.4, [])
    attention = model.attention[0]
    assert attention.c_attn.weight.shape == (WIDTH, 3 * attention.split_size)
    assert attention.c_attn.outputs == 3 * attention.split_size < 3 * WIDTH
    assert model.attention[1][0].outputs == model.attention[1][2].weight.shape[0] < 32


def test_numbers_that_come_out_of_a_cache_are_their_own_modules() -> None:
    model = Tokens(nn.Sequential(kinds.Cached(), nn.LayerNorm(WIDTH), kinds.Cached()))
    pruning = check(model, tokens(), unread=True)
    assert pruned(pruning) == {"attention.0.to_qkv", "attention.2.to_qkv"}
    assert len(pruning.groups) == 2
    pruning.set_rate(1.0, [])
    assert [(model.attention[at].heads, model.attention[at].depth) for at in (0, 2)] == [(1, 5)] * 2


class Remembering(kinds.Window):
    """As LeViT's: in evaluation it looks its bias up once."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Tensor | None = None

    def train(self, mode: bool = True) -> Remembering:
        self.known = None if mode else self.known
        return super().train(mode)

    def bias(self) -> Tensor:
        if self.training:
            return super().bias()
        if self.known is None:
            self.known = super().bias()
        return self.known


def test_what_is_cached_in_evaluation_is_of_the_heads_that_there_are() -> None:
    model = Tokens(Remembering()).eval()
    x = tokens().float()
    pruning = prune(model, x)
    assert pruned(pruning) == {"attention.qkv"}
    with torch.no_grad():
        before = model(x)
        for rate in (0.4, 0.6):
            pruning.set_rate(rate, [])
            fresh = Tokens(kinds.Window()).eval()
            fresh.attention.num_heads = model.attention.num_heads
            for name, parameter in fresh.named_parameters():
                parameter.data = model.get_parameter(name).data
            assert torch.equal(model(x), fresh(x))
        pruning.set_rate(0.0, [])
        assert torch.equal(model(x), before)
    assert not model.training
