"""A compression controller whose answers are recorded."""

from __future__ import annotations

from typing import Any

from accaware.search.metric import DenseReferences
from accaware.search.ports import CompressionController, Runner, Scheduler, TrainingCallbacks
from accaware.search.replay.replay import Replay
from accaware.search.replay.replayed_runner import ReplayedRunner


class ReplayedController:
    """Passes everything on to ``controller``, but for what the recording answers."""

    def __init__(self, controller: CompressionController, replay: Replay) -> None:
        self._controller = controller
        self._replay = replay
        self.scheduler = ReplayedScheduler(controller.scheduler, replay)

    @property
    def compression_rate(self) -> float:
        """The rate that was achieved then, or is now; setting one does nothing in a replay."""
        return self._replay.answer("compression_rate", lambda: self._controller.compression_rate)

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        self._replay.act(lambda: setattr(self._controller, "compression_rate", target))

    @property
    def maximal_compression_rate(self) -> float:
        """The highest rate that the model can reach, as recorded or as it is."""
        return self._replay.answer(
            "maximal_compression_rate", lambda: self._controller.maximal_compression_rate
        )

    @property
    def model_sparsity(self) -> float | None:
        """As recorded or as it is. None isn't recorded: older recordings have no such answers."""
        call, live = "model_sparsity", None
        if self._replay.replaying:
            known = self._replay.next_call == call
        else:
            live = self._controller.model_sparsity
            known = live is not None
        return self._replay.answer(call, lambda: live) if known else None

    def create_runner(
        self,
        model: Any,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> Runner:
        """The controller's own runner, whose answers are recorded as well."""
        runner = self._controller.create_runner(model, callbacks, log_dir, references)
        return ReplayedRunner(runner, self._replay)


class ReplayedScheduler:
    """As ReplayedController; training itself steps the scheduler behind this one."""

    def __init__(self, scheduler: Scheduler, replay: Replay) -> None:
        self._scheduler = scheduler
        self._replay = replay

    @property
    def target(self) -> float:
        """The level of full compression, as recorded or as it is."""
        return self._replay.answer("target", lambda: self._scheduler.target)

    @property
    def fully_compressed(self) -> bool:
        """Whether the target was reached then, or is now."""
        return self._replay.answer("fully_compressed", lambda: self._scheduler.fully_compressed)

    def epoch_step(self, next_epoch: int | None = None) -> None:
        """Enter an epoch; in a replay the snapshot will bring its level."""
        self._replay.act(lambda: self._scheduler.epoch_step(next_epoch))

    def step(self) -> None:
        """Take note of an optimizer's step, but not in a replay."""
        self._replay.act(self._scheduler.step)

    def observe(self, held: bool) -> None:
        """Take note of a verdict, but not in a replay."""
        self._replay.act(lambda: self._scheduler.observe(held))

    def disable(self) -> None:
        """Leave the level to the search from here on; in a replay the snapshot knows that it is."""
        self._replay.act(self._scheduler.disable)
