"""The workers of one run: begun, checked to be alike, and begun anew where they die."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from accaware.errors import UsageError
from accaware.ray.bench import BenchFactory, Surroundings
from accaware.ray.cluster import RayCluster
from accaware.ray.worker import Hello, Raised, Worker

PATIENCE = 120.0
"""Seconds for a worker's process to begin, where no other one is there."""

POOR_STARTS = 3
"""Workers in a row that may die before they can run anything."""

CONTROL = "control"
"""What a worker is told while it runs a trial, as Ray has it: a thread beside the trial's."""


class RayWorker:
    """One actor, as the run's own process sees it."""

    def __init__(self, actor: Any, hello: Any) -> None:
        self.actor = actor
        self.pending: Any = hello
        """What it was asked and hasn't answered yet, before it can run trials; then None."""
        self.name = "a new worker"
        self.is_there = False
        self.ready = False
        self.trial: int | None = None
        self.reports: Any = None


class RayWorkers:
    """As many workers as trials are to run at a time, or as there is room for.

    Args:
        resources: of each: CPU, GPU, or names of the cluster's own; fractions too.
        here: what every worker's surroundings have to be like.
        warn: told where there are fewer of them.

    Raises:
        UsageError: there is no room for one, or the first of them can't run trials.
    """

    def __init__(
        self,
        cluster: RayCluster,
        count: int,
        resources: Mapping[str, float],
        factory: BenchFactory,
        here: Surroundings,
        warn: Callable[[str], None],
    ) -> None:
        self._ray = cluster.ray
        self._cluster = cluster
        self._count = count
        self._resources = resources
        self._factory = factory
        self._here = here
        self._setup: Any = None
        room = cluster.require(resources)
        if room < count:
            warn(
                f"parallel_trials is {count}, and the Ray cluster has room for {room}: the others "
                "wait, which takes more epochs of training than fewer trials at a time"
            )
        self._actor = self._actor_class()
        self.all: list[RayWorker] = [self._begin() for _ in range(min(room, count))]
        try:
            self._check_first()
        except BaseException:
            self.close()
            raise

    def _actor_class(self) -> Any:
        others = {
            name: amount for name, amount in self._resources.items() if name not in ("CPU", "GPU")
        }
        return self._ray.remote(
            num_cpus=self._resources.get("CPU", 0),
            num_gpus=self._resources.get("GPU", 0),
            resources=others,
            concurrency_groups={CONTROL: 1},
            max_restarts=0,
        )(Worker)

    def _begin(self) -> RayWorker:
        actor = self._actor.remote(self._factory)
        return RayWorker(actor, actor.hello.remote())

    def _check_first(self) -> None:
        """Whatever stands against a run on these workers is told before anything is trained."""
        for deaths in itertools.count(1):
            pending = {worker.pending: worker for worker in self.all}
            ready, _ = self._ray.wait(list(pending), num_returns=1, timeout=PATIENCE)
            if not ready:
                raise UsageError(
                    f"no worker of the Ray cluster has begun within {PATIENCE:g} seconds"
                )
            try:
                self._check(self._ray.get(ready[0]))
            except self._ray.exceptions.RayError as error:
                self.replace(pending[ready[0]])
                if deaths > POOR_STARTS or not self.all:
                    raise UsageError(
                        f"a worker of the Ray cluster could not begin: {first(error)}"
                    ) from error
            else:
                return

    def _check(self, answer: Hello | Raised) -> None:
        """See that a worker can run trials.

        Raises:
            UsageError: it can't.
        """
        if isinstance(answer, Raised):
            raise UsageError(f"on a worker of the Ray cluster: {answer.message}")
        there, here = answer.surroundings, self._here
        for package, version in here.versions.items():
            other = there.versions.get(package, "none")
            if other != version:
                raise UsageError(
                    f"on worker {answer.name} {package} is {other}, and here {version}: trials "
                    "have to be run with the same versions everywhere"
                )
        if there.device != here.device:
            raise UsageError(
                f"worker {answer.name} computes on {there.device}, and this process on "
                f'{here.device}: set "device", or give resources_per_trial a "GPU"'
            )

    def build(self, setup: Any) -> None:
        """Have each of them make its bench, once it has said hello."""
        self._setup = self._ray.put(setup)

    @property
    def any_there(self) -> bool:
        """Whether one of them has said hello."""
        return any(worker.is_there for worker in self.all)

    def waited_for(self) -> dict[Any, RayWorker]:
        """What is under way, by what Ray calls it."""
        refs = {worker.pending: worker for worker in self.all if worker.pending is not None}
        running = {worker.reports: worker for worker in self.all if worker.reports is not None}
        return {**refs, **running}

    def answered(self, worker: RayWorker) -> None:
        """Take a worker's answer before it can run trials, and ask the next.

        Raises:
            UsageError: it can't run any.
        """
        ref, worker.pending = worker.pending, None
        answer = self._ray.get(ref)
        if isinstance(answer, Hello):
            self._check(answer)
            worker.name, worker.is_there = answer.name, True
            worker.pending = worker.actor.build.remote(self._setup)
        elif isinstance(answer, Raised):
            raise UsageError(f"on worker {worker.name}: {answer.message}")
        else:
            worker.ready = True

    def replace(self, worker: RayWorker) -> None:
        """A worker is gone; begin another where there is room."""
        self.all.remove(worker)
        room = self._cluster.room_for(self._resources)
        if len(self.all) < min(room, self._count):
            self.all.append(self._begin())

    def leave(self, trial: int) -> None:
        """Have whoever runs a trial leave it."""
        for worker in self.all:
            if worker.trial == trial:
                worker.actor.leave.options(concurrency_group=CONTROL).remote(trial)

    def close(self) -> None:
        """End them all, and the cluster where it is the run's own."""
        if self._ray.is_initialized():
            for worker in self.all:
                self._ray.kill(worker.actor)
        self.all.clear()
        self._cluster.close()


def first(error: BaseException) -> str:
    """What Ray says, in a sentence: its messages go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith("The actor is dead because")), None)
    told = why or (lines[0] if lines else type(error).__name__)
    return told.split(". ")[0].split(" Worker exit ")[0].rstrip(".")
