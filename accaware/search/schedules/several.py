"""Several algorithms at once, each with a schedule of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accaware.search.schedules.scheduler import CompressionScheduler
from accaware.search.schedules.schedules import Schedule

Apply = Callable[[Sequence[float]], None]
"""Puts levels on the model, one for each schedule."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A schedule, and how it is walked; as the arguments of CompressionScheduler."""

    schedule: Schedule
    per_optimizer_step: bool = False
    steps_per_epoch: int | None = None
    freeze_epoch: int | None = None


def combined(rates: Sequence[float]) -> float:
    """The rate of algorithms that each take their share of what the others leave."""
    return rates[0] if len(rates) == 1 else 1 - math.prod(1 - rate for rate in rates)


class SideBySideScheduler:
    """Steps several schedules as one, under the names of CompressionScheduler.

    Args:
        configs: one for each level.
        apply: called once where one level or more have changed.
        entered: called whenever an epoch has been entered, after its levels were applied.
    """

    def __init__(
        self,
        configs: Sequence[ScheduleConfig],
        apply: Apply,
        entered: Callable[[], None] = lambda: None,
    ) -> None:
        self._schedulers = [_scheduler(config, self._note) for config in configs]
        self._apply = apply
        self._entered = entered
        self._changed = False

    @property
    def target(self) -> float:
        """The rate of all targets together."""
        return combined([each.target for each in self._schedulers])

    @property
    def current_epoch(self) -> int:
        """The epoch that was entered last, which is the same in all schedules."""
        return self._schedulers[0].current_epoch

    @property
    def current_level(self) -> float:
        """Of all levels last put on the model together, in [0, 1]."""
        return combined([each.current_level for each in self._schedulers])

    @property
    def within_epoch(self) -> bool:
        """Whether there was an optimizer step since the epoch was entered."""
        return any(each.within_epoch for each in self._schedulers)

    @property
    def fully_compressed(self) -> bool:
        """Whether every schedule has reached its target."""
        return all(each.fully_compressed for each in self._schedulers)

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Enter the next epoch, or ``next_epoch``, and set its levels."""
        for each in self._schedulers:
            each.epoch_step(next_epoch)
        self._settle()
        self._entered()

    def step(self) -> None:
        """Once after each optimizer step."""
        for each in self._schedulers:
            each.step()
        self._settle()

    def observe(self, held: bool) -> None:
        """After a validation: whether the metric is within budget."""
        for each in self._schedulers:
            each.observe(held)

    def disable(self) -> None:
        """From here on the levels are set from outside; steps have no effect."""
        for each in self._schedulers:
            each.disable()

    def state_dict(self) -> dict[str, Any]:
        """Where they stand; the schedules and the levels on the model are not in it."""
        return {"schedulers": [each.state_dict() for each in self._schedulers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where ``state_dict`` was taken. Nothing is applied: the model has a state too."""
        for each, its in zip(self._schedulers, state["schedulers"], strict=True):
            each.load_state_dict(its)

    def _note(self, _: float) -> None:
        self._changed = True

    def _settle(self) -> None:
        if self._changed:
            self._changed = False
            self._apply([each.current_level for each in self._schedulers])


def scheduler_of(
    configs: Sequence[ScheduleConfig], apply: Apply, entered: Callable[[], None] = lambda: None
) -> CompressionScheduler | SideBySideScheduler:
    """The scheduler of one algorithm or of several; arguments as of SideBySideScheduler."""
    if len(configs) > 1:
        return SideBySideScheduler(configs, apply, entered)
    return _scheduler(configs[0], lambda level: apply([level]), entered)


def _scheduler(
    config: ScheduleConfig,
    apply: Callable[[float], None],
    entered: Callable[[], None] = lambda: None,
) -> CompressionScheduler:
    return CompressionScheduler(
        config.schedule,
        apply,
        per_optimizer_step=config.per_optimizer_step,
        steps_per_epoch=config.steps_per_epoch,
        freeze_epoch=config.freeze_epoch,
        entered=entered,
    )
