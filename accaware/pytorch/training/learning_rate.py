"""The user's own schedules of the learning rate: none, one or many; scaled, and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.optim import Optimizer

from accaware.errors import UnkeepableError


def schedulers_in(scheduler: Any) -> Iterator[Any]:
    """One, none or many: what configure_optimizers may return in second place."""
    if scheduler is None:
        return
    if isinstance(scheduler, (list, tuple)):
        for each in scheduler:
            yield from schedulers_in(each)
    else:
        yield scheduler


def scale_learning_rate(optimizer: Optimizer, schedulers: Iterable[Any], factor: float) -> None:
    """Multiply the learning rate, and all that schedules remember of it."""
    for group in optimizer.param_groups:
        for key in ("lr", "initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] *= factor
    for scheduler in schedulers:
        _scale_schedule(scheduler, factor)


def state_of(schedule: Any) -> Any:
    """A schedule's state.

    Raises:
        UnkeepableError: it has none to ask for.
    """
    if not hasattr(schedule, "state_dict") or not hasattr(schedule, "load_state_dict"):
        raise UnkeepableError(
            f"the learning-rate scheduler {type(schedule).__name__} has no state_dict() and "
            "load_state_dict()"
        )
    return schedule.state_dict()


def _scale_schedule(scheduler: Any, factor: float) -> None:
    for inner in getattr(scheduler, "_schedulers", ()):
        _scale_schedule(inner, factor)
    for name in ("base_lrs", "max_lrs", "_last_lr"):
        rates = getattr(scheduler, name, None)
        if isinstance(rates, list):
            setattr(scheduler, name, [rate * factor for rate in rates])
