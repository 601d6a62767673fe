"""Batches of one, and values that aren't finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.data.batch_statistics import adapt_batchnorm, batch_statistics
from accaware.pytorch.training.classification import train_epoch
from tests.pytorch.training.scripts import early_exit

CPU = torch.device("cpu")
QUANTIZATION: dict[str, Any] = {
    "algorithm": "quantization",
    "initializer": {"range": {"num_init_samples": 24, "type": "min_max"}},
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model(torch.randn(32, 6) * 3)  # statistics that are none of a fresh norm
    return model


def data(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 6, generator=generator), torch.zeros(size, dtype=torch.long))
        for size in sizes
    ]


def spoilt(batch: tuple[Tensor, Tensor], value: float) -> tuple[Tensor, Tensor]:
    images = batch[0].clone()
    images[0, 0] = value
    return images, batch[1]


def statistics(model: nn.Sequential) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in model[1].named_buffers()}


def same(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)


def adapted(batches: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    model = network()
    adapt_batchnorm(model, batches, 1000, CPU)
    assert model[1].momentum == 0.1
    assert model[1].training
    return statistics(model)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_batch_of_one_gives_no_statistics(at: int) -> None:
    batches = data(8, 5)
    with_one = [*batches[:at], *data(1), *batches[at:]]
    assert same(adapted(with_one), adapted(batches))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_batch_that_is_not_finite_gives_no_statistics(at: int, value: float) -> None:
    batches = data(8, 5)
    with_it = [*batches[:at], spoilt(data(4)[0], value), *batches[at:]]
    assert same(adapted(with_it), adapted(batches))


def test_without_any_statistics_the_former_ones_stay() -> None:
    assert same(adapted([*data(1, 1), spoilt(data(4)[0], float("nan"))]), statistics(network()))


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_batch_statistics_leave_no_trace(value: float) -> None:
    model = network().eval()
    before = statistics(model)
    with torch.no_grad(), batch_statistics(model):
        several = model(spoilt(data(8)[0], value)[0])
        one = model(data(1)[0][0])
    assert torch.equal(one, model(data(1)[0][0]))
    assert not torch.equal(several, model(spoilt(data(8)[0], value)[0]))
    assert same(statistics(model), before)
    assert not model[1].training


class Idle:
    def step(self) -> None: ...

    def loss(self) -> Tensor:
        return torch.zeros(())


def test_the_default_training_takes_a_last_batch_of_one() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight = model[0].weight.detach().clone()
    loss = train_epoch(model, data(1), optimizer, Idle())
    assert loss > 0
    assert not torch.equal(model[0].weight, weight)
    assert same(statistics(model), statistics(network()))
    assert model[1].training
    train_epoch(model, data(4), optimizer, Idle())
    assert not same(statistics(model), statistics(network()))


def ranges(batches: list[tuple[Tensor, Tensor]]) -> list[tuple[float, float] | None]:
    model = network().eval()
    controller, _ = create_compressed_model(
        model, early_exit(QUANTIZATION), batches[0][0][:1], batches
    )
    controller.compression_rate = 0.5
    assert same(statistics(model), statistics(network()))
    return [info.range for info in controller.quantizers()]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_values_that_are_not_finite_are_in_no_range(value: float) -> None:
    batches = data(8, 8, 8)
    found = ranges([spoilt(batches[0], value), *batches[1:]])
    expected = ranges(batches)
    assert all(each is not None and abs(sum(each)) < 100 for each in found)
    assert len(found) == len(expected)


def test_a_batch_of_one_is_measured() -> None:
    assert len(ranges(data(1, 1))) == len(ranges(data(8)))


def test_data_without_a_finite_value_is_told_with_the_place() -> None:
    with pytest.raises(UsageError, match="at 0 input had no finite value in 2 training samples"):
        ranges([(torch.full((2, 6), float("nan")), torch.zeros(2))])
