"""What a module's ``configure_optimizers`` returns, in all the forms that Lightning knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from accaware.errors import PluginContractError
from accaware.pytorch.training.returned import named


class SteppedByBatch:
    """A schedule that is stepped after each batch, and not at the end of an epoch.

    Whoever scales learning rates finds the schedule within, as in PyTorch's SequentialLR.
    """

    def __init__(self, schedule: Any) -> None:
        self._schedulers = [schedule]

    def step(self, *_: Any) -> None:
        """Nothing, at the end of an epoch."""

    def after_batch(self) -> None:
        """Step the schedule."""
        self._schedulers[0].step()

    def state_dict(self) -> Any:
        """The schedule's."""
        return self._schedulers[0].state_dict()

    def load_state_dict(self, state: Any) -> None:
        """Bring the schedule back."""
        self._schedulers[0].load_state_dict(state)


def optimizer_and_schedules(made: Any, monitor: str) -> tuple[Optimizer, list[Any]]:
    """One optimizer, and its schedules.

    Args:
        monitor: the metric of the search, which a plateau is seen in.

    Raises:
        PluginContractError: there are several optimizers or none, or a schedule's settings ask
            for what only a Trainer does.
    """
    schedules: list[Any] = []
    if isinstance(made, (tuple, list)) and len(made) == 2 and isinstance(made[0], (tuple, list)):
        made, schedules = made
    if isinstance(made, (tuple, list)):
        if len(made) != 1:
            raise PluginContractError(
                f"configure_optimizers returned {len(made)} optimizers; accaware trains with one"
            )
        (made,) = made
    if isinstance(made, Mapping):
        if "lr_scheduler" in made:
            schedules = [made["lr_scheduler"]]
        made = made.get("optimizer")
    if not isinstance(made, Optimizer):
        raise PluginContractError(
            f"configure_optimizers must return an optimizer, with schedules or without; it "
            f"returned {named(made)}"
        )
    return made, [_schedule(each, monitor) for each in schedules]


def _schedule(told: Any, monitor: str) -> Any:
    settings = told if isinstance(told, Mapping) else {"scheduler": told}
    schedule, interval = settings["scheduler"], settings.get("interval", "epoch")
    if settings.get("frequency", 1) != 1:
        raise PluginContractError(
            f"lr_scheduler: a frequency of {settings['frequency']} is up to Lightning's Trainer"
        )
    plateau = isinstance(schedule, ReduceLROnPlateau)
    other = settings.get("monitor", monitor)
    if plateau and (other != monitor or interval != "epoch"):
        raise PluginContractError(
            f"lr_scheduler: a plateau of {other} by {interval}; here it is seen in {monitor}, the "
            "metric of the search, by epoch"
        )
    return SteppedByBatch(schedule) if interval == "step" else schedule
