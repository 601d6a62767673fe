"""The functions that a training script hands to a loop, with NNCF's names and signatures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainingCallbacks:
    """The user's training, as functions. Models and optimizers pass through untouched.

    Attributes:
        train_epoch_fn: ``(controller, model, epoch=, optimizer=, lr_scheduler=)``, trains one
            epoch; returns its loss or None.
        validate_fn: ``(model, epoch=)``, returns the metric; ``epoch`` is passed only to a
            function that accepts it.
        configure_optimizers_fn: ``()``, returns an optimizer or (optimizer, scheduler), where
            the scheduler may be None or a list.
        dump_checkpoint_fn: ``(model, controller, runner, save_dir)``, returns a path; called
            beside accaware's own saving.
        load_checkpoint_fn: ``(model, path)``, loads what ``dump_checkpoint_fn`` wrote into a
            model that already has the right shape.
        early_stopping_fn: ``(metric)``, True ends the search after the epoch at hand.
        update_learning_rate_fn: ``(lr_scheduler, epoch, metric, loss)``, called after each
            epoch in place of the scheduler's own step.
    """

    train_epoch_fn: Callable[..., float | None]
    validate_fn: Callable[..., float]
    configure_optimizers_fn: Callable[[], Any]
    dump_checkpoint_fn: Callable[..., Any] | None = None
    load_checkpoint_fn: Callable[..., Any] | None = None
    early_stopping_fn: Callable[[float], bool] | None = None
    update_learning_rate_fn: Callable[..., None] | None = None
