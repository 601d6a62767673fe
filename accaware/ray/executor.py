"""Trials on Ray's workers, several at a time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from accaware.errors import PluginFailure, RunError
from accaware.ray.bench import TravellingBench
from accaware.ray.worker import Raised
from accaware.ray.workers import PATIENCE, POOR_STARTS, RayWorker, RayWorkers, first
from accaware.search.trial import Checkpoint
from accaware.search.trials.order import Began, Ended, EpochDone, Report, TrialEnd, TrialOrder

_MOMENT = 0.5
"""Seconds to wait for a report before there is none for a moment."""


class RaisedOnWorker(Exception):  # noqa: N818 - stands for an exception of any name
    """What the user's code raised on a worker; its text is the whole traceback there."""


class RayExecutor:
    """Gives trials to workers that are idle, and keeps what they send of each epoch.

    Whatever a worker knew of its trial is here, as of its last epoch: where it dies, another one
    goes on from there, and so does a later process with the run.

    Args:
        workers: closed with this.
        depot: has the run's checkpoints, and keeps its trials.
        setup: what each worker makes its bench from.
        restarts: of a trial whose worker died, before the trial has failed.
    """

    def __init__(
        self, workers: RayWorkers, depot: TravellingBench, setup: Any, restarts: int
    ) -> None:
        self._workers = workers
        self._depot = depot
        self._restarts = restarts
        self._orders: dict[int, TrialOrder] = {}
        self._waiting: deque[TrialOrder] = deque()
        self._reports: deque[Report] = deque()
        self._starts: dict[Checkpoint, Any] = {}
        self._deaths: Counter[int] = Counter()
        self._poor_starts = 0
        self._seen = time.monotonic()
        workers.build(setup)

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        """Give these to workers, in their order, as soon as they are idle."""
        self._orders.update({order.number: order for order in orders})
        self._waiting.extend(orders)
        # The weights of former rounds' starts needn't stay in the memory of Ray's.
        self._starts.clear()

    def next(self) -> Report | None:
        """The next report of any worker; None where there is none for a moment."""
        import ray

        if self._reports:
            return self._reports.popleft()
        self._assign()
        under_way = self._workers.waited_for()
        if not under_way:
            raise RunError(
                "no worker of the Ray cluster is left, and there is no room for another one"
            )
        ready, _ = ray.wait(list(under_way), num_returns=1, timeout=_MOMENT)
        if not ready:
            self._check_patience()
            return None
        worker = under_way[ready[0]]
        try:
            if worker.pending is not None:
                self._workers.answered(worker)
                self._poor_starts = 0
            else:
                self._take(worker, ray.get(next(worker.reports)))
        except StopIteration:
            worker.reports = worker.trial = None
        except ray.exceptions.RayError as error:
            self._died(worker, error)
        return self._reports.popleft() if self._reports else None

    def cancel(self, trial: int) -> None:
        """Have a trial's worker leave it; nothing of it is taken from here on."""
        self._orders.pop(trial, None)
        self._waiting = deque(order for order in self._waiting if order.number != trial)
        self._reports = deque(
            report for report in self._reports if getattr(report, "trial", None) != trial
        )
        self._workers.leave(trial)
        self._depot.leave(trial)

    def forget(self, trials: Sequence[int]) -> None:
        """Drop what was kept to go on with them."""
        for trial in trials:
            self._orders.pop(trial, None)
            self._depot.forget(trial)

    def rewind(self) -> None:
        """As an executor would that has run the trials here."""
        self._depot.reset(-1)

    def close(self) -> None:
        """End all workers."""
        self._workers.close()

    def _assign(self) -> None:
        import ray

        for worker in self._workers.all:
            if not self._waiting:
                return
            if worker.ready and worker.reports is None:
                order = self._waiting.popleft()
                start = self._starts.get(order.checkpoint)
                if start is None:
                    start = ray.put(self._depot.packed(order.checkpoint))
                    self._starts[order.checkpoint] = start
                run = worker.actor.run.options(num_returns="streaming")
                worker.trial = order.number
                worker.reports = run.remote(order, start, self._depot.packed_trial(order))

    def _check_patience(self) -> None:
        """Where nobody is there, somebody has to come in time.

        Raises:
            RunError: nobody did.
        """
        now = time.monotonic()
        if self._workers.any_there:
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise RunError(
                f"no worker of the Ray cluster is left, and none has begun within {PATIENCE:g} "
                "seconds"
            )

    def _take(self, worker: RayWorker, sent: Any) -> None:
        order = None if worker.trial is None else self._orders.get(worker.trial)
        if order is None:
            return  # it was cancelled
        if isinstance(sent, Raised):
            raise _raised(sent, order, worker)
        if sent.parcel is not None:
            self._depot.unpack_trial(order, sent.parcel)
        report = sent.report
        if isinstance(report, Ended) or (isinstance(report, EpochDone) and report.end is not None):
            del self._orders[order.number]  # nobody has to go on with it
        if isinstance(report, Began):
            report = replace(report, worker=worker.name)
        self._reports.append(report)

    def _died(self, worker: RayWorker, error: Exception) -> None:
        """Give its trial to the next idle one; where that was so too often, it has failed."""
        trial, why = worker.trial, first(error)
        began = worker.ready
        self._workers.replace(worker)
        if not began:
            self._poor_starts += 1
            if self._poor_starts > POOR_STARTS:
                raise RunError(f"workers of the Ray cluster die before they can begin: {why}")
        order = None if trial is None else self._orders.get(trial)
        if order is None:
            return
        self._deaths[order.number] += 1
        deaths = self._deaths[order.number]
        if deaths <= self._restarts:
            self._waiting.appendleft(order)
            return
        times = "once" if deaths == 1 else f"{deaths} times"
        failure = f"its worker died {times}: {why}"
        self._reports.append(Ended(order.number, TrialEnd(failure=failure)))


def _raised(raised: Raised, order: TrialOrder, worker: RayWorker) -> Exception:
    where = f"in trial {order.number} on worker {worker.name}"
    if raised.function is not None:
        return PluginFailure(raised.function, RaisedOnWorker(f"{where}\n{raised.trace}"))
    return RunError(f"{where}: {raised.message}")
