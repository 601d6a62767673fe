"""A compression controller whose answers are on a tape."""

from __future__ import annotations

from typing import Any

from accaware.search.callbacks import TrainingCallbacks
from accaware.search.ports import CompressionController, Runner, Scheduler
from accaware.search.replay.tape import Tape
from accaware.search.replay.taped_runner import TapedRunner


class TapedController:
    """Passes everything on to ``controller``, but for what the tape answers."""

    def __init__(self, controller: CompressionController, tape: Tape) -> None:
        self._controller = controller
        self._tape = tape
        self.scheduler = TapedScheduler(controller.scheduler, tape)

    @property
    def compression_rate(self) -> float:
        return self._tape.answer("compression_rate", lambda: self._controller.compression_rate)

    @compression_rate.setter
    def compression_rate(self, target: float) -> None:
        self._tape.act(lambda: setattr(self._controller, "compression_rate", target))

    @property
    def maximal_compression_rate(self) -> float:
        return self._tape.answer(
            "maximal_compression_rate", lambda: self._controller.maximal_compression_rate
        )

    def create_runner(
        self, model: Any, callbacks: TrainingCallbacks, log_dir: str | None
    ) -> Runner:
        return TapedRunner(self._controller.create_runner(model, callbacks, log_dir), self._tape)


class TapedScheduler:
    """As TapedController; training itself steps the scheduler behind this one."""

    def __init__(self, scheduler: Scheduler, tape: Tape) -> None:
        self._scheduler = scheduler
        self._tape = tape

    @property
    def target(self) -> float:
        return self._tape.answer("target", lambda: self._scheduler.target)

    @property
    def fully_compressed(self) -> bool:
        return self._tape.answer("fully_compressed", lambda: self._scheduler.fully_compressed)

    def epoch_step(self, next_epoch: int | None = None) -> None:
        self._tape.act(lambda: self._scheduler.epoch_step(next_epoch))

    def step(self) -> None:
        self._tape.act(self._scheduler.step)

    def observe(self, held: bool) -> None:
        self._tape.act(lambda: self._scheduler.observe(held))

    def disable(self) -> None:
        self._tape.act(self._scheduler.disable)
