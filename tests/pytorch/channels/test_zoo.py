"""Compact training is masked training, on the networks that people use."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.pytorch.channels.masked import (
    Masked,
    assert_near,
    assert_same_training,
    dense_state,
)
from tests.pytorch.channels.zoo import SIZES, make_inputs, make_model, prune

RATES = (0.3, 0.6, 0.9)


@pytest.mark.parametrize("name", SIZES)
def test_compact_is_masked_at_every_rate_up_and_down(name: str) -> None:
    dense = make_model(name)
    state = copy.deepcopy(dense.state_dict())
    inputs = make_inputs(name)
    model = copy.deepcopy(dense)
    pruning = prune(model, inputs[:1])
    layouts = {}
    for rate in RATES:
        pruning.set_rate(rate, [])
        layouts[rate] = pruning.compact.layout
        assert pruning.compression_rate == pytest.approx(rate, abs=0.05)
        masked = Masked(dense, dense_state(model, pruning.dense_tensors()), pruning.kept_masks())
        assert_same_training(model, masked, (inputs,), 1e-10)
    for rate in (0.6, 0.3):
        pruning.set_rate(rate, [])
        assert pruning.compact.layout == layouts[rate]
        masked = Masked(dense, state, pruning.kept_masks())
        for key, parameter in model.named_parameters():
            assert torch.equal(parameter, masked.part(key, state[key])), key
    pruning.set_rate(0.0, [])
    for key, parameter in model.named_parameters():
        assert torch.equal(parameter, state[key]), key


# Networks whose own rounding is below that. In others a masked step in single precision is
# further from the same step in double (a ReLU6 or a maximum turns over) than from the compact one.
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_single_precision_agrees_to_five_digits(name: str) -> None:
    dense = make_model(name, torch.float32)
    inputs = make_inputs(name, torch.float32, batch=4)
    model = copy.deepcopy(dense)
    pruning = prune(model, inputs[:1])
    for rate in RATES:
        pruning.set_rate(rate, [])
        masked = Masked(dense, dense_state(model, pruning.dense_tensors()), pruning.kept_masks())
        assert_same_training(model, masked, (inputs,), 1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_single_precision_evaluates_to_five_digits(name: str) -> None:
    dense = make_model(name, torch.float32).eval()
    inputs = make_inputs(name, torch.float32)
    model = copy.deepcopy(dense)
    pruning = prune(model, inputs[:1])
    for rate in RATES:
        pruning.set_rate(rate, [])
        masked = Masked(dense, dense_state(model, pruning.dense_tensors()), pruning.kept_masks())
        with torch.no_grad():
            assert_near(model.eval()(inputs), masked.model(inputs), 1e-5, f"at {rate}")


def train(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    model.train()
    targets = torch.arange(len(inputs)) % 10
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121"])
def test_training_steps_end_in_the_same_weights_and_removed_ones_come_back(name: str) -> None:
    dense = make_model(name)
    state = copy.deepcopy(dense.state_dict())
    inputs = make_inputs(name, batch=4)
    model = copy.deepcopy(dense)
    pruning = prune(model, inputs[:1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    pruning.set_rate(0.5, [optimizer])
    kept = pruning.kept_masks()
    masked = Masked(dense, state, kept)
    reference = torch.optim.SGD(masked.model.parameters(), lr=0.01, momentum=0.9)
    train(model, optimizer, inputs)
    train(masked.model, reference, inputs)
    trained = dict(masked.model.named_parameters())
    for key, parameter in model.named_parameters():
        assert_near(parameter.detach(), masked.part(key, trained[key].detach()), 1e-10, key)
    learnt = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    pruning.set_rate(0.0, [optimizer])
    for key, parameter in model.named_parameters():
        assert torch.equal(masked.part(key, parameter), learnt[key]), key
        gone = torch.ones_like(parameter, dtype=torch.bool)
        for dim, mask in kept.get(key, {}).items():
            shape = [1] * parameter.dim()
            shape[dim] = -1
            gone &= mask.reshape(shape)
        assert torch.equal(parameter[~gone], state[key][~gone]), key
    assert any(not torch.equal(parameter, state[key]) for key, parameter in trained.items())
