"""The same Parameter objects, with an optimizer's state that follows them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer

from accaware.pytorch import load_compressed, save_compressed
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.state.state_files import StateFiles
from tests.pytorch.channels import odd_models as odd
from tests.pytorch.channels.zoo import prune


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return odd.plain(nn.BatchNorm2d(12), nn.ReLU())


@pytest.fixture
def pruning(model: nn.Module) -> FilterPruning:
    return prune(model, torch.randn(1, 3, 8, 8))


def step(model: nn.Module, optimizer: Optimizer) -> torch.Tensor:
    optimizer.zero_grad()
    loss = model(torch.randn(4, 3, 8, 8)).square().mean()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
        lambda parameters: Adam(parameters, lr=0.01, amsgrad=True),
        lambda parameters: AdamW(parameters, lr=0.01),
    ],
)
def test_state_follows_its_parameter_and_starts_at_zero_for_what_comes_back(
    model: nn.Module, pruning: FilterPruning, make: Callable[..., Optimizer]
) -> None:
    optimizer = make(model.parameters())
    step(model, optimizer)
    before = {
        name: {key: value.clone() for key, value in optimizer.state[parameter].items()
               if value.dim()}
        for name, parameter in model.named_parameters()
    }  # fmt: skip
    assert any(before.values())
    pruning.set_rate(0.5, [optimizer])
    kept = pruning.kept_masks()
    for name, parameter in model.named_parameters():
        for key, value in before[name].items():
            for dim, mask in kept.get(name, {}).items():
                value = value.index_select(dim, mask.nonzero().flatten())
            assert torch.equal(optimizer.state[parameter][key], value), name
    step(model, optimizer)
    pruning.set_rate(0.0, [optimizer])
    for parameter in model.parameters():
        for value in optimizer.state[parameter].values():
            assert not value.dim() or value.shape == parameter.shape
    weight = model[0].weight
    for key in before["0.weight"]:
        assert not optimizer.state[weight][key][~kept["0.weight"][0]].any()
        assert optimizer.state[weight][key][kept["0.weight"][0]].any()
    step(model, optimizer)


def test_state_of_another_shape_starts_anew(model: nn.Module, pruning: FilterPruning) -> None:
    optimizer = Adafactor(model.parameters(), lr=0.01)
    step(model, optimizer)
    pruning.set_rate(0.5, [optimizer])
    assert model[0].weight not in optimizer.state
    step(model, optimizer)


def test_parameters_stay_the_same_objects(model: nn.Module, pruning: FilterPruning) -> None:
    before = dict(model.named_parameters())
    pruning.set_rate(0.7, [])
    assert all(before[name] is parameter for name, parameter in model.named_parameters())
    assert model[0].out_channels == model[0].weight.shape[0] == model[1].num_features < 12
    assert model[1].running_mean.shape == (model[0].out_channels,)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_that_is_kept_does_not_disturb_the_next_rate(
    model: nn.Module, pruning: FilterPruning
) -> None:
    optimizer = SGD(model.parameters(), lr=0.1)
    losses = [step(model, optimizer)]
    for rate in (0.5, 0.2, 0.0):
        losses.append(model(torch.randn(4, 3, 8, 8)).sum())
        pruning.set_rate(rate, [optimizer])
        losses.append(step(model, optimizer))
    assert len(losses) == 7


def test_a_model_that_changes_its_type_is_followed(
    model: nn.Module, pruning: FilterPruning
) -> None:
    model.double()
    pruning.set_rate(0.5, [])
    inputs = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert model(inputs).dtype == torch.float64
    pruning.set_rate(0.0, [])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert model[1].running_var.dtype == torch.float64
    model(inputs)


def test_channels_stay_last_in_memory(tmp_path: Path) -> None:
    def channels_last(tensors: Iterable[torch.Tensor]) -> bool:
        filters = [tensor for tensor in tensors if tensor.dim() == 4]
        assert any(filter.shape[2] > 1 for filter in filters)
        wanted = [torch.empty_like(each, memory_format=torch.channels_last) for each in filters]
        return [each.stride() for each in filters] == [each.stride() for each in wanted]

    def in_order() -> bool:
        moments = (state["exp_avg"] for state in optimizer.state.values())
        return channels_last(model.parameters()) and channels_last(moments)

    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 10, 1), nn.ReLU(), nn.Conv2d(10, 6, 3)
    )
    pruning = prune(model, torch.randn(1, 3, 8, 8))
    model.to(memory_format=torch.channels_last)
    optimizer = Adam(model.parameters())
    step(model, optimizer)
    for rate in (0.5, 0.2, 0.6):
        pruning.set_rate(rate, [optimizer])
        step(model, optimizer)
        assert in_order()
    files = StateFiles(tmp_path)
    files.write("kept", (pruning.state_dict(), dict(tensors_of(model))))
    save_compressed(model, pruning.kept_masks(), tmp_path / "model.pt")
    pruning.set_rate(0.0, [optimizer])
    assert in_order()
    fresh = copy.deepcopy(model)
    assert channels_last(load_compressed(tmp_path / "model.pt", fresh).parameters())
    pruning.load_state_dict(*files.read("kept"))
    assert channels_last(model.parameters())
    # Whoever has them first keeps that.
    pruning.set_rate(0.0, [])
    fresh = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    assert not channels_last(load_compressed(tmp_path / "model.pt", fresh).parameters())


def test_state_dict_brings_a_layout_back(model: nn.Module, pruning: FilterPruning) -> None:
    pruning.set_rate(0.6, [])
    inputs = torch.randn(2, 3, 8, 8)
    expected = model.eval()(inputs)
    state = pruning.state_dict()
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(model).items()}
    dense = {name: tensor.clone() for name, tensor in pruning.dense_tensors().items()}
    pruning.set_rate(0.0, [])
    with torch.no_grad():
        for name in dense:
            tensors_of(model)[name].zero_()
    pruning.load_state_dict(state, tensors)
    assert torch.equal(model(inputs), expected)
    assert all(torch.equal(pruning.dense_tensors()[name], dense[name]) for name in dense)
