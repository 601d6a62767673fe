"""An optimizer and a learning-rate schedule from a config's `optimizer` section."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)

from accaware.config.model.config import OptimizerConfig

_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], epochs: int, higher_is_better: bool
) -> tuple[Optimizer, LRScheduler | ReduceLROnPlateau | None]:
    """The configured optimizer and its schedule, which is stepped once an epoch.

    Args:
        parameters: those to train.
        epochs: the length of a training phase, where a schedule needs one to end at.
        higher_is_better: the direction of the metric that a plateau is seen in.
    """
    make = _OPTIMIZERS[config.type]
    optimizer = make(
        parameters,
        lr=config.base_lr,
        weight_decay=config.weight_decay,
        **dict(config.optimizer_params),
    )
    extra: dict[str, Any] = dict(config.schedule_params)
    scheduler: LRScheduler | ReduceLROnPlateau | None
    match config.schedule_type:
        case "multistep":
            scheduler = MultiStepLR(optimizer, list(config.steps), gamma=config.gamma, **extra)
        case "step":
            scheduler = StepLR(optimizer, config.step, gamma=config.gamma, **extra)
        case "exponential":
            scheduler = ExponentialLR(optimizer, gamma=config.gamma, **extra)
        case "cosine":
            scheduler = CosineAnnealingLR(optimizer, **{"T_max": epochs, **extra})
        case "poly":
            length = {"total_iters": epochs, "power": config.power}
            scheduler = PolynomialLR(optimizer, **{**length, **extra})
        case "plateau":
            mode = "max" if higher_is_better else "min"
            scheduler = ReduceLROnPlateau(optimizer, **{"mode": mode, **extra})
        case _:
            scheduler = None
    return optimizer, scheduler
