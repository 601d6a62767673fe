"""Experts held as one parameter: the same hidden units go in all of them, however it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch import create_compressed_model, load_compressed, save_compressed
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.compression.pruning.importance import channel_importances
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from tests.pytorch.channels.test_odd_models import check, pruned, reasons
from tests.pytorch.channels.zoo import prune
from tests.pytorch.training.scripts import SPARSITY, early_exit
from tests.runners.torch_case import PRUNING

WIDTH, HIDDEN, EXPERTS = 6, 10, 4


class Experts(nn.Module):
    """A mixture of gated experts, each sample for two of them; the last expert has no sample.

    Args:
        compute: how rows go through experts.
        transposed: whether matrices lie as (inputs, outputs).
    """

    def __init__(self, compute: Callable[..., Tensor], *, transposed: bool = False) -> None:
        super().__init__()
        shapes = [(2 * HIDDEN, WIDTH), (WIDTH, HIDDEN)]
        up, down = [(b, a) if transposed else (a, b) for a, b in shapes]
        self.gate_up_proj = nn.Parameter(torch.randn(EXPERTS, *up))
        self.gate_up_bias = nn.Parameter(torch.randn(EXPERTS, 2 * HIDDEN))
        self.down_proj = nn.Parameter(torch.randn(EXPERTS, *down))
        self.head = nn.Linear(WIDTH, 3)
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        number = torch.arange(len(x), device=x.device)
        experts = torch.stack([number % 3, (number + 1) % 3], 1)
        shares = torch.softmax(x[:, :2], 1)
        rows = x.repeat_interleave(2, 0)
        made = self.compute(self, rows, experts.flatten())
        mixed = (made * shares.reshape(-1, 1)).unflatten(0, (-1, 2)).sum(1)
        result: Tensor = self.head(x + mixed)
        return result


def gated(y: Tensor) -> Tensor:
    gate, up = y.chunk(2, dim=-1)
    return functional.silu(gate) * up


def interleaved(y: Tensor) -> Tensor:
    return functional.silu(y[..., ::2]) * y[..., 1::2]


def one_by_one(self: Experts, rows: Tensor, experts: Tensor) -> Tensor:
    """Each expert that has a sample, by its number among the values."""
    result = torch.zeros_like(rows)
    for expert in experts.unique():
        (places,) = torch.where(experts == expert)
        y = functional.linear(rows[places], self.gate_up_proj[expert], self.gate_up_bias[expert])
        y = functional.linear(gated(y), self.down_proj[expert])
        result = result.index_copy(0, places, y)
    return result


def batched(self: Experts, rows: Tensor, experts: Tensor) -> Tensor:
    """A copy of the expert's matrices for each sample."""
    y = torch.bmm(self.gate_up_proj[experts], rows[..., None])[..., 0] + self.gate_up_bias[experts]
    return torch.bmm(self.down_proj[experts], gated(y)[..., None])[..., 0]


def of_transposed(self: Experts, rows: Tensor, experts: Tensor) -> Tensor:
    """All experts for each sample, of which one is taken; gates and values take turns."""
    y = torch.bmm(rows.expand(EXPERTS, -1, -1), self.gate_up_proj) + self.gate_up_bias[:, None]
    y = interleaved(y) @ self.down_proj
    return y.transpose(0, 1).take_along_dim(experts[:, None, None], 1)[:, 0]


def by_einsum(self: Experts, rows: Tensor, experts: Tensor) -> Tensor:
    y = torch.einsum("sh,soh->so", rows, self.gate_up_proj[experts]) + self.gate_up_bias[experts]
    return torch.einsum("shi,si->sh", self.down_proj[experts], gated(y))


FORMS: dict[str, Callable[[], Experts]] = {
    "one by one": lambda: Experts(one_by_one),
    "batched": lambda: Experts(batched),
    "transposed": lambda: Experts(of_transposed, transposed=True),
    "einsum": lambda: Experts(by_einsum),
}


def rows(count: int = 6) -> Tensor:
    return torch.randn(count, WIDTH, dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
def test_hidden_units_of_all_experts_go_together(form: str) -> None:
    pruning = check(FORMS[form](), rows())
    (group,) = pruning.groups
    assert group.size == HIDDEN
    assert pruned(pruning) == {"gate_up_proj"}
    assert set(reasons(pruning)) >= {"head"}


def by_offsets(self: Experts, rows: Tensor, experts: Tensor) -> Tensor:
    order = experts.argsort(stable=True)
    counts = (experts[:, None] == torch.arange(EXPERTS, device=rows.device)).sum(0)
    offsets = counts.cumsum(0).int()
    y = functional.grouped_mm(rows[order], self.gate_up_proj.transpose(-2, -1), offs=offsets)
    y = y + self.gate_up_bias[experts[order]]
    y = functional.grouped_mm(gated(y), self.down_proj.transpose(-2, -1), offs=offsets)
    return y[order.argsort()]


def test_grouped_products_take_multiples_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their kernels fail with others, and know neither double precision nor its FLOPs."""
    monkeypatch.setattr("tests.pytorch.channels.layers.test_experts.WIDTH", 8)
    monkeypatch.setattr("tests.pytorch.channels.layers.test_experts.HIDDEN", 32)
    model = Experts(by_offsets)
    x = torch.randn(6, 8)
    dense = FlopsModel(model, ExampleInputs((x,), {}))
    pruning = prune(model, x)
    (group,) = pruning.groups
    assert (group.name, group.multiple) == ("gate_up_proj", 8)
    pruning.set_rate(0.4, [])
    assert model.down_proj.shape == (EXPERTS, 8, 16)
    assert model(x).isfinite().all()
    shapes = {name: each.shape for name, each in model.named_parameters()}
    assert dense.count(shapes) == FlopsModel(model, ExampleInputs((x,), {})).dense
    # Of one sample, through two experts: as many products as in linear layers.
    assert dense.dense == 2 * 2 * (8 * 64 + 32 * 8) + 2 * 8 * 3


def test_a_unit_matters_as_much_as_it_does_in_all_experts() -> None:
    model = Experts(batched).double()
    pruning = prune(model, rows())
    with torch.no_grad():
        model.gate_up_proj[1:, 3] = 0  # one expert alone needs the unit, and much
        model.gate_up_proj[0, 3] = 100
    (scores,) = channel_importances(
        pruning.groups, dict(model.named_parameters()), "L2", comparable=False
    )
    assert scores.argmax() == 3


def test_a_file_and_a_way_back(tmp_path: Path) -> None:
    model, x = Experts(batched), torch.randn(6, WIDTH)
    dense = copy.deepcopy(model)
    config = early_exit([PRUNING, SPARSITY])
    controller, _ = create_compressed_model(model, config, x)
    controller.compression_rate = 0.7
    assert model.down_proj.shape[2] < HIDDEN
    assert (model.gate_up_proj == 0).any()
    kept = controller.algorithm.kept_masks()
    save_compressed(model, kept, tmp_path / "model.pt")
    loaded = load_compressed(tmp_path / "model.pt", Experts(batched))
    assert torch.equal(loaded(x), model(x))
    controller.compression_rate = 0.0
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, dense.state_dict()[name]), name


def test_a_kernel_by_another_name_and_a_tied_one() -> None:
    """A convolution that is called as a function; one that two modules share stays."""

    class Kernel(nn.Module):
        def __init__(self, kernel: nn.Parameter) -> None:
            super().__init__()
            self.kernel = kernel

        def forward(self, x: Tensor) -> Tensor:
            return functional.conv1d(x, self.kernel, padding=1).relu()

    def stack(second: nn.Parameter, third: nn.Parameter) -> nn.Module:
        layers = [nn.Conv1d(3, 6, 3), Kernel(second), Kernel(third), nn.Conv1d(6, 2, 1)]
        return nn.Sequential(*layers)

    def kernel() -> nn.Parameter:
        return nn.Parameter(torch.randn(6, 6, 3))

    x = torch.randn(4, 3, 9, dtype=torch.float64)
    pruning = check(stack(kernel(), kernel()), x)
    assert pruned(pruning) == {"0", "1.kernel", "2.kernel"}
    shared = kernel()
    found = find_dependencies(stack(shared, shared), ExampleInputs((x.float(),), {}))
    assert not [group for group in found.groups if "kernel" in group.name]


def test_quantized_beside_it() -> None:
    """Ranges are a channel each, of those that are left, whatever went before."""
    model, x = Experts(one_by_one), torch.randn(6, WIDTH)
    dense = copy.deepcopy(model)
    quantization = {"algorithm": "quantization"}
    data = [(x, torch.zeros(6))]
    controller, _ = create_compressed_model(model, early_exit([PRUNING, quantization]), x, data)
    for rate in (0.6, 0.3):
        controller.compression_rate = rate
        assert {"gate_up_proj", "down_proj"} <= {each.place for each in controller.quantizers()}
        model.train()(x).sum().backward()
        assert model.gate_up_proj.grad.shape == model.gate_up_proj.shape
    kept = controller.algorithm.kept_masks()["down_proj"][2]
    # Eight bits are near, and nobody trained.
    assert torch.allclose(model.gate_up_proj, dense.gate_up_proj[:, kept.repeat(2)], atol=0.05)
