"""The self-test passes where pruning works, and fails where it doesn't."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from accaware.pytorch import self_test


def test_it_passes_and_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = self_test.self_test()
    assert found.failure is None
    assert found.devices[0] == "cpu"
    assert torch.equal(torch.get_rng_state(), state)


def test_a_file_that_brings_back_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "load_compressed", lambda path, model: model)
    failure = self_test.self_test().failure
    assert failure == "on cpu: the saved model came back as another one"


def test_kernels_that_compute_something_else_for_fewer_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = nn.Conv2d.forward

    def forward(self: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = real(self, inputs)
        # Only of the numbers that the pruned model itself computes: its trial is in float64.
        return found + 1 if len(self.weight) == 4 and inputs.dtype == torch.float32 else found

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    failure = self_test.self_test().failure
    assert failure is not None
    assert failure.startswith("on cpu: the pruned model computes something else, by ")


def test_a_step_that_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: Any) -> None:
        """Nothing is changed."""

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    failure = self_test.self_test().failure
    assert failure == "on cpu: a training step left the pruned model as it was"


def test_a_torchvision_that_was_built_for_another_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test.probe().pair is None

    def nms(*_: Any) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("torchvision.ops.nms", nms)
    assert self_test.probe().pair == "operator torchvision::nms does not exist"
