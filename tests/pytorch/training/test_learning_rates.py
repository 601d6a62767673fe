"""Optimizers and learning-rate schedules: the user's own, and the config's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as schedules

from accaware import AccAwareConfig
from accaware.config.model.config import OptimizerConfig
from accaware.pytorch.training.optimizers import build_optimizer
from accaware.search.ports import Runner, TrainingCallbacks
from tests.pytorch.training.scripts import adaptive, compressed

BASE = 0.1
Make = Callable[[Optimizer], Any]

SCHEDULES: dict[str, Make] = {
    "none": lambda optimizer: None,
    "step": lambda optimizer: schedules.StepLR(optimizer, 2),
    "multistep": lambda optimizer: schedules.MultiStepLR(optimizer, [1, 3]),
    "exponential": lambda optimizer: schedules.ExponentialLR(optimizer, 0.7),
    "lambda": lambda optimizer: schedules.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
    "cosine": lambda optimizer: schedules.CosineAnnealingLR(optimizer, 5),
    "restarts": lambda optimizer: schedules.CosineAnnealingWarmRestarts(optimizer, 3),
    "polynomial": lambda optimizer: schedules.PolynomialLR(optimizer, 5),
    "one cycle": lambda optimizer: schedules.OneCycleLR(optimizer, BASE, total_steps=8),
    "cyclic": lambda optimizer: schedules.CyclicLR(optimizer, BASE / 10, BASE, step_size_up=2),
    "sequential": lambda optimizer: schedules.SequentialLR(
        optimizer,
        [schedules.LinearLR(optimizer, 0.1, total_iters=2), schedules.StepLR(optimizer, 2)],
        milestones=[2],
    ),
    "chained": lambda optimizer: schedules.ChainedScheduler(
        [schedules.ConstantLR(optimizer, 0.5, 2), schedules.ExponentialLR(optimizer, 0.9)]
    ),
    "list": lambda optimizer: [
        schedules.ExponentialLR(optimizer, 0.9),
        schedules.MultiStepLR(optimizer, [2]),
    ],
    "empty list": lambda optimizer: [],
}


def runner_with(make: Make, seen: list[list[float]] | None = None) -> Runner:
    """A runner whose epochs do one step each; ``seen`` gets each epoch's learning rates."""
    controller, model = compressed()

    def configure() -> Any:
        head, body = list(model.classifier.parameters()), list(model.features.parameters())
        groups = [{"params": head}, {"params": body, "lr": BASE / 2}]
        optimizer = SGD(groups, lr=BASE, momentum=0.9)
        return optimizer, make(optimizer)

    def train(controller: Any, model: Any, *, optimizer: Any, **_: Any) -> None:
        if seen is not None:
            seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()

    callbacks = TrainingCallbacks(
        train_epoch_fn=train, validate_fn=lambda model: 0.5, configure_optimizers_fn=configure
    )
    runner: Runner = controller.create_runner(model, callbacks, None)
    return runner


def epochs(runner: Runner, count: int = 6) -> None:
    for epoch in range(count):
        runner.train_epoch(epoch)
        runner.end_epoch(epoch, None, 0.5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_factor_multiplies_a_schedules_every_learning_rate(name: str) -> None:
    rates: dict[float, list[list[float]]] = {1.0: [], 0.25: []}
    for factor, seen in rates.items():
        runner = runner_with(SCHEDULES[name], seen)
        runner.start(factor)
        epochs(runner)
    assert rates[0.25] == [pytest.approx([rate / 4 for rate in row]) for row in rates[1.0]]
    if "none" not in name and "empty" not in name:
        assert len({tuple(row) for row in rates[1.0]}) > 1


def test_the_factor_multiplies_the_rate_that_a_schedule_tells() -> None:
    runner = runner_with(SCHEDULES["exponential"])
    runner.start(0.5)
    assert runner.lr_scheduler.get_last_lr() == pytest.approx([BASE / 2, BASE / 4])  # type: ignore[attr-defined]


def test_a_tensor_learning_rate_is_multiplied() -> None:
    controller, model = compressed()
    callbacks = TrainingCallbacks(
        train_epoch_fn=lambda *_, **__: None,
        validate_fn=lambda model: 0.5,
        configure_optimizers_fn=lambda: torch.optim.Adam(
            model.parameters(), lr=torch.tensor(BASE), foreach=False
        ),
    )
    runner = controller.create_runner(model, callbacks, None)
    runner.start(0.5)
    assert float(runner.optimizer.param_groups[0]["lr"]) == pytest.approx(BASE / 2)


def test_a_plateau_is_seen_in_the_current_metric_and_only_where_there_is_one() -> None:
    class Spy(schedules.ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            metrics_seen.append(metrics)
            super().step(metrics)

    metrics_seen: list[float] = []
    runner = runner_with(lambda optimizer: [Spy(optimizer, mode="max", patience=0, factor=0.5)])
    runner.start(1.0)
    for epoch, metric in enumerate([0.5, None, 0.9, 0.6, 0.7]):
        runner.train_epoch(epoch)
        runner.end_epoch(epoch, None, metric)
    assert metrics_seen == [0.5, 0.9, 0.6, 0.7]
    assert runner.optimizer.param_groups[0]["lr"] == pytest.approx(BASE / 4)  # type: ignore[attr-defined]


def test_nothing_is_stepped_where_the_user_updates_learning_rates() -> None:
    calls: list[tuple[Any, ...]] = []
    controller, model = compressed()

    def configure() -> Any:
        optimizer = SGD(model.parameters(), lr=BASE)
        return optimizer, schedules.ExponentialLR(optimizer, 0.5)

    callbacks = TrainingCallbacks(
        train_epoch_fn=lambda *_, **__: None,
        validate_fn=lambda model: 0.5,
        configure_optimizers_fn=configure,
        update_learning_rate_fn=lambda *arguments: calls.append(arguments),
    )
    runner = controller.create_runner(model, callbacks, None)
    runner.start(1.0)
    runner.end_epoch(3, 0.7, 0.5)
    assert calls == [(runner.lr_scheduler, 3, 0.5, 0.7)]
    assert runner.optimizer.param_groups[0]["lr"] == BASE


# The config's `optimizer` section -------------------------------------------------------------


def configured(section: dict[str, Any], higher_is_better: bool = True) -> tuple[Optimizer, Any]:
    """What the section builds, for training phases of four epochs."""
    config = AccAwareConfig.from_dict({**adaptive().to_dict(), "optimizer": section})
    layer = nn.Linear(3, 2)
    return build_optimizer(config.optimizer, layer.parameters(), 4, higher_is_better)


def trained_rates(section: dict[str, Any], count: int = 5) -> list[float]:
    optimizer, scheduler = configured(section)
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if isinstance(scheduler, schedules.ReduceLROnPlateau):
            scheduler.step(0.5)
        elif scheduler is not None:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("section", "kind", "settings"),
    [
        ({}, torch.optim.SGD, {"lr": 0.01, "weight_decay": 0.0, "momentum": 0}),
        (
            {
                "type": "SGD",
                "base_lr": 0.5,
                "weight_decay": 0.001,
                "optimizer_params": {"momentum": 0.9, "nesterov": True},
            },
            torch.optim.SGD,
            {"lr": 0.5, "weight_decay": 0.001, "momentum": 0.9, "nesterov": True},
        ),
        (
            {"type": "Adam", "optimizer_params": {"lr": 0.2, "betas": [0.8, 0.9], "eps": 1e-7}},
            torch.optim.Adam,
            {"lr": 0.2, "betas": (0.8, 0.9), "eps": 1e-7},
        ),
        (
            {"type": "AdamW", "weight_decay": 0.1, "optimizer_params": {"amsgrad": True}},
            torch.optim.AdamW,
            {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
        ),
    ],
)
def test_each_optimizer_is_built_as_configured_and_steps(
    section: dict[str, Any], kind: type[Optimizer], settings: dict[str, Any]
) -> None:
    optimizer, scheduler = configured(section)
    assert type(optimizer) is kind
    assert scheduler is None
    group = optimizer.param_groups[0]
    built = {key: tuple(v) if isinstance(v := group[key], list) else v for key in settings}
    assert built == settings
    assert len(set(trained_rates(section))) == 1


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"schedule_type": "step", "step": 2, "gamma": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
        ({"schedule_type": "multistep", "steps": [1, 3], "gamma": 0.1}, [1, 0.1, 0.1, 0.01, 0.01]),
        ({"schedule_type": "exponential", "gamma": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625]),
        ({"schedule_type": "cosine"}, [1, 0.853553, 0.5, 0.146447, 0]),
        ({"schedule_type": "poly", "power": 2.0}, [1, 0.5625, 0.25, 0.0625, 0]),
        (
            {"schedule_type": "plateau", "schedule_params": {"patience": 1, "factor": 0.5}},
            [1, 1, 1, 0.5, 0.5],
        ),
        (
            {"schedule_type": "multistep", "schedule_params": {"steps": [2], "gamma": 0.5}},
            [1, 1, 0.5, 0.5, 0.5],
        ),
    ],
    ids=lambda value: value["schedule_type"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_each_schedule_changes_the_rate_as_configured(
    schedule: dict[str, Any], rates: list[float], kind: str
) -> None:
    section = {"type": kind, "base_lr": 0.1, **schedule}
    expected = [rate / 10 for rate in rates]
    assert trained_rates(section) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("higher_is_better", "fallen"), [(True, 0.2), (False, 0.8)])
def test_the_configs_plateau_knows_which_way_is_better(
    higher_is_better: bool, fallen: float
) -> None:
    optimizer, scheduler = configured(
        {"schedule_type": "plateau", "base_lr": 1.0, "schedule_params": {"patience": 0}},
        higher_is_better,
    )
    better = 1 - fallen
    for metric in (0.5, better):
        scheduler.step(metric)
        assert optimizer.param_groups[0]["lr"] == 1.0
    scheduler.step(fallen)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_every_schedule_of_the_model_is_known() -> None:
    described = (OptimizerConfig.__doc__ or "").split("schedule_type`` is ")[1].split(", None")[0]
    names = described.replace(" or ", ", ").replace("\n", " ").split(", ")
    assert {name.strip() for name in names} == {
        "multistep", "step", "plateau", "poly", "exponential", "cosine",
    }  # fmt: skip
