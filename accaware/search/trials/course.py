"""A trial from its order to its end, on any model and in any process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from accaware.search.trial import Checkpoint, Epoch, TrialRecord
from accaware.search.trials.executor import TrialBench
from accaware.search.trials.order import (
    Began,
    Ended,
    EpochBegan,
    EpochDone,
    Noted,
    Report,
    TrialEnd,
    TrialOrder,
    TrialProgress,
)
from accaware.search.trials.training import TrialTraining


class TrialCourse:
    """Runs a trial, or goes on with it where it was kept."""

    def __init__(
        self,
        order: TrialOrder,
        bench: TrialBench,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._order = order
        self._bench = bench
        self._notes: list[str] = []
        self._record: TrialRecord | None = None
        self._training = TrialTraining(
            bench.runner,
            bench.controller,
            order.rules,
            name_of=lambda record, epoch: order.name_of(epoch),
            warn=self._notes.append,
            clock=clock,
        )

    @property
    def best(self) -> Checkpoint | None:
        """The weights of the best epoch so far."""
        return None if self._record is None else self._record.checkpoint

    def reports(self) -> Iterator[Report]:
        """All that there is to report; what was known of it before is reported again."""
        order = self._order
        progress = self._bench.resume(order) or self._begun()
        self._record = record = order.record(progress.compression_rate, progress.epochs)
        yield Began(order.number, progress.compression_rate)
        yield from self._known(progress)
        self._training.epochs = order.first_epoch - 1 + len(record.epochs)
        while progress.end is None:
            yield EpochBegan(order.number, self._training.epochs + 1)
            before = record.checkpoint
            epoch, end = self._epoch(record)
            progress = TrialProgress(progress.compression_rate, tuple(record.epochs), end)
            self._bench.keep(order, progress)
            if before is not None and record.checkpoint != before:
                self._bench.runner.discard(before)
            yield from map(Noted, self._notes)
            self._notes.clear()
            yield EpochDone(order.number, epoch, end)

    def leave(self) -> None:
        """Nobody wants its weights."""
        if self.best is not None:
            self._bench.runner.discard(self.best)

    def _begun(self) -> TrialProgress:
        order, controller, runner = self._order, self._bench.controller, self._bench.runner
        self._bench.reset(order.number)
        controller.scheduler.disable()
        runner.load(order.checkpoint)
        controller.compression_rate = order.rate
        rate = controller.compression_rate
        if rate in order.known:
            return TrialProgress(rate, end=TrialEnd(known=True))
        runner.start(order.lr_factor)
        return TrialProgress(rate)

    def _known(self, progress: TrialProgress) -> Iterator[Report]:
        """What is to be told of a trial that was kept."""
        for left, epoch in zip(reversed(range(len(progress.epochs))), progress.epochs, strict=True):
            yield EpochDone(self._order.number, epoch, None if left else progress.end)
        if progress.end is not None and not progress.epochs:
            yield Ended(self._order.number, progress.end)

    def _epoch(self, record: TrialRecord) -> tuple[Epoch, TrialEnd | None]:
        """The next epoch, and the trial's end if it is the last one."""
        order, training = self._order, self._training
        done = len(record.epochs)
        left = order.epochs - done - 1
        training.anneal(done, order.epochs)
        epoch = training.epoch(record, last=left == 0, fully_compressed=True)
        over = training.is_over(
            record,
            epoch,
            left,
            ends_within_budget=order.ends_within_budget,
            gives_up=order.gives_up,
        )
        end = TrialEnd(given_up=record.given_up, stopped_by_user=record.stopped_by_user)
        return epoch, end if over else None
