"""The one scheduler: walks any schedule and puts its level on the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accaware.search.schedules.schedules import Adaptive, Schedule

_STATE = (
    "current_epoch",
    "_begun",
    "_enabled",
    "_held",
    "_level",
    "_rises",
    "_step",
    "_steps_per_epoch",
)


class CompressionScheduler:
    """Steps a schedule through epochs, under NNCF's names.

    Args:
        schedule: the levels.
        apply: puts a level on the model; called for the first one, and when the level changes.
        per_optimizer_step: also move within an epoch, at each ``step()``.
        steps_per_epoch: how many optimizer steps make an epoch; counted during the first epoch
            where it is None, which then stays at one level.
        freeze_epoch: from this epoch on the level stays; None for never.
        entered: called whenever an epoch has been entered, after its level was applied.
    """

    def __init__(
        self,
        schedule: Schedule,
        apply: Callable[[float], None],
        *,
        per_optimizer_step: bool = False,
        steps_per_epoch: int | None = None,
        freeze_epoch: int | None = None,
        entered: Callable[[], None] = lambda: None,
    ) -> None:
        self._schedule = schedule
        self._apply = apply
        self._entered = entered
        self._per_step = per_optimizer_step
        self._steps_per_epoch = steps_per_epoch
        self._freeze_epoch = freeze_epoch
        self._begun = False
        self._enabled = True
        self._held = 0
        self._rises = 0
        self._step = 0
        self._level = 0.0
        self.current_epoch = -1

    @property
    def schedule(self) -> Schedule:
        """What is walked, as a function of the epoch."""
        return self._schedule

    @property
    def target(self) -> float:
        """The level of full compression."""
        return self._schedule.target

    @property
    def current_level(self) -> float:
        """The level last put on the model, in [0, 1]."""
        return self._level

    @property
    def within_epoch(self) -> bool:
        """Whether there was an optimizer step since the epoch was entered."""
        return self._step > 0

    @property
    def fully_compressed(self) -> bool:
        """Whether the level has reached the target."""
        return self._level >= self.target

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Enter the next epoch, or ``next_epoch``, and set its level."""
        if self._per_step and self._steps_per_epoch is None and self._step:
            self._steps_per_epoch = self._step
        self.current_epoch = self.current_epoch + 1 if next_epoch is None else next_epoch
        self._step = 0
        self._update()
        self._entered()

    def step(self) -> None:
        """Once after each optimizer step."""
        self._step += 1
        if self._per_step and self._steps_per_epoch is not None:
            self._update()

    def observe(self, held: bool) -> None:
        """After a validation: whether the metric is within budget."""
        if isinstance(self._schedule, Adaptive):
            self._held = self._held + 1 if held else 0
            if self._held >= self._schedule.patience:
                self._held = 0
                self._rises += 1

    def disable(self) -> None:
        """From here on the level is set from outside; steps have no effect."""
        self._enabled = False

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; the schedule itself and the level on the model are not in it."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where ``state_dict`` was taken. Nothing is applied: the model has a state too."""
        for name in _STATE:
            setattr(self, name, state[name])

    def _update(self) -> None:
        frozen = self._freeze_epoch is not None and self.current_epoch >= self._freeze_epoch
        if not self._enabled or frozen:
            return
        if isinstance(self._schedule, Adaptive):
            moment: float = self._rises
        elif self._step and self._steps_per_epoch:
            moment = self.current_epoch + min(self._step / self._steps_per_epoch, 1.0)
        else:
            moment = self.current_epoch
        level = self._schedule.level(moment)
        if level != self._level or not self._begun:
            self._begun, self._level = True, level
            self._apply(level)
