"""Whoever runs trials: the same reports, the same result, whatever dies meanwhile."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import MissingExtraError, PluginFailure, UsageError
from accaware.plugins.plugin import guarded
from accaware.ray.bench import BenchFactory, Surroundings
from accaware.ray.cluster import RayCluster
from accaware.ray.executor import RayExecutor
from accaware.ray.workers import RayWorkers
from accaware.search import AccuracyBudget, SearchResult, TrialPhase, TrialState
from accaware.search.events import EpochFinished, Event, TrialStarted
from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.params import AdaptiveParams
from accaware.search.trial import Checkpoint
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.in_process import InProcessExecutor
from accaware.search.trials.order import Began, EpochDone, Report, TrialOrder
from accaware.search.trials.training import TrialRules
from tests.resume.test_fake_runs import timeless
from tests.runners.base import Config
from tests.runners.benches import FakeBench, Training, several
from tests.runners.fake import Recorder

HERE = Surroundings({"python": "3"}, "cpu")


def look(there: Surroundings = HERE) -> Surroundings:
    return there


def make(training: Training, setup: Any, check: Callable[[], None]) -> FakeBench:
    return FakeBench(training, check=check)


def on_ray(
    bench: FakeBench,
    training: Training,
    *,
    count: int = 2,
    restarts: int = 3,
    there: Surroundings = HERE,
    warn: Callable[[str], None] = lambda message: None,
    resources: dict[str, float] | None = None,
) -> RayExecutor:
    factory = BenchFactory(partial(look, there), partial(make, training))
    wanted = resources or {"CPU": 1.0}
    workers = RayWorkers(RayCluster("auto"), count, wanted, factory, HERE, warn)
    return RayExecutor(workers, bench, None, restarts)


Execute = Callable[[FakeBench, Training], TrialExecutor]


@pytest.fixture(params=["in process", "ray"])
def execute(request: pytest.FixtureRequest) -> Iterator[Execute]:
    """What makes an executor of each kind; all are closed in the end."""
    made: list[TrialExecutor] = []
    if request.param == "ray":
        request.getfixturevalue("two_nodes")

    def start(bench: FakeBench, training: Training) -> TrialExecutor:
        ray = request.param == "ray"
        made.append(on_ray(bench, training, count=1) if ray else InProcessExecutor(bench))
        return made[-1]

    yield start
    for executor in made:
        executor.close()
        executor.close()


def orders(*rates: float, epochs: int = 4) -> list[TrialOrder]:
    rules = TrialRules(AccuracyBudget(1.0, 0.1))
    return [
        TrialOrder(
            number=number,
            phase=TrialPhase.SEARCH,
            rate=rate,
            epochs=epochs,
            lr_factor=1.0,
            start=None,
            checkpoint=Checkpoint("untouched"),
            first_epoch=1,
            rules=rules,
            ends_within_budget=True,
            gives_up=False,
        )
        for number, rate in enumerate(rates)
    ]


def bench_of(training: Training) -> FakeBench:
    bench = FakeBench(training)
    bench.runner.save("untouched")
    return bench


def reports_until(executor: TrialExecutor, over: Callable[[list[Report]], bool]) -> list[Report]:
    reports: list[Report] = []
    deadline = time.monotonic() + 120
    while not over(reports):
        assert time.monotonic() < deadline
        report = executor.next()
        if report is not None:
            reports.append(report)
    return reports


def epochs_of(reports: list[Report], trial: int) -> list[EpochDone]:
    return [one for one in reports if isinstance(one, EpochDone) and one.trial == trial]


def all_ended(count: int) -> Callable[[list[Report]], bool]:
    def over(reports: list[Report]) -> bool:
        ends = [getattr(report, "end", None) is not None for report in reports]
        return sum(ends) == count

    return over


def falling(rate: float, age: int) -> float:
    return 0.95 - rate / 2 + 0.02 * age


def test_each_trial_begins_has_its_epochs_in_order_and_ends(execute: Execute) -> None:
    bench = bench_of(Training(falling))
    executor = execute(bench, Training(falling))
    executor.submit(orders(0.05, 0.2, 0.4))
    reports = reports_until(executor, all_ended(3))
    for trial, count in ((0, 1), (1, 3), (2, 4)):
        own = [one for one in reports if getattr(one, "trial", None) == trial]
        assert isinstance(own[0], Began)
        epochs = epochs_of(reports, trial)
        assert [one.epoch.number for one in epochs] == list(range(1, count + 1))
        assert [one.end is not None for one in epochs] == [False] * (count - 1) + [True]
        # The best epoch's weights are here, and those of no other one.
        saved = [name for name in bench.runner.saved if name.startswith(f"trial-{trial}-")]
        assert saved == [f"trial-{trial}-epoch-{count}"]
    executor.forget([0, 1, 2])
    assert not bench.kept


def test_of_a_trial_that_is_cancelled_nothing_is_heard_any_more(execute: Execute) -> None:
    training = Training(falling, seconds=0.05)
    bench = bench_of(training)
    executor = execute(bench, training)
    executor.submit(orders(0.4, 0.5, 0.6, epochs=6))
    reports_until(executor, lambda reports: bool(epochs_of(reports, 0)))
    executor.cancel(0)
    executor.cancel(2)
    reports = reports_until(executor, all_ended(1))
    assert {getattr(report, "trial", None) for report in reports} == {1}
    saved = {str(name) for name in bench.runner.saved}
    assert saved == {"untouched", "trial-1-epoch-6"}


def test_another_executor_goes_on_where_one_was_left(execute: Execute) -> None:
    training = Training(falling, seconds=0.02)
    bench = bench_of(training)
    first = execute(bench, training)
    first.submit(orders(0.4))
    before = reports_until(first, lambda reports: len(epochs_of(reports, 0)) == 2)
    first.close()
    bench.epochs = 0
    second = execute(bench, training)
    second.submit(orders(0.4))
    after = epochs_of(reports_until(second, all_ended(1)), 0)
    assert [one.epoch for one in after[:2]] == [one.epoch for one in epochs_of(before, 0)]
    assert len(after) == 4


def failing(rate: float, age: int) -> float:
    return guarded("validate", lambda: 1 / (age - 1))


def test_what_the_users_code_raises_is_theirs(execute: Execute) -> None:
    executor = execute(bench_of(Training(failing)), Training(failing))
    executor.submit(orders(0.4))
    with pytest.raises(PluginFailure) as failure:
        reports_until(executor, all_ended(1))
    assert failure.value.function == "validate"
    assert "ZeroDivisionError" in repr(failure.value.original) + str(failure.value.original)


def decaying(rate: float, age: int) -> float:
    return 1.0 - 2 * max(rate - 0.45, 0.0) ** 2 + 0.01 * age


NOISY = Training(decaying, noise=0.03)
SEARCH = several(2, maximal_absolute_accuracy_degradation=0.05, minimal_compression_rate_step=0.02)


class Ended:
    """A search, and what it told."""

    def __init__(
        self,
        bench: FakeBench,
        executor: TrialExecutor,
        params: AdaptiveParams = SEARCH,
        observers: tuple[Any, ...] = (),
    ) -> None:
        self.recorder = Recorder()
        loop = create_accuracy_aware_training_loop(
            Config(params),
            bench.controller,
            1.0,
            observers=[self.recorder, *observers],
            executor=executor,
        )
        self.result: SearchResult = loop.drive(bench.runner)


def undisturbed(training: Training = NOISY) -> str:
    bench = FakeBench(training)
    return repr(timeless(Ended(bench, InProcessExecutor(bench)).result))


class Killer:
    """Ends a worker once in a while, or whatever else it is told to."""

    def __init__(self, kill: Callable[[int], object], chance: random.Random) -> None:
        self._kill = kill
        self._chance = chance
        self._workers: dict[int, int] = {}
        self.kills = 0

    def notify(self, event: Event) -> None:
        if isinstance(event, TrialStarted) and event.worker is not None:
            self._workers[event.number] = int(event.worker.rpartition("/")[2])
        if isinstance(event, EpochFinished) and self.kills < 2 and self._chance.random() < 0.3:
            self.kills += 1
            self._kill(self._workers[event.trial])


def test_a_worker_that_is_killed_costs_no_more_than_its_epoch(two_nodes: Any) -> None:
    slow = Training(decaying, noise=0.03, seconds=0.05)
    bench = FakeBench(slow)
    killer = Killer(lambda worker: os.kill(worker, signal.SIGKILL), random.Random(3))
    executor = on_ray(bench, slow)
    try:
        ended = Ended(bench, executor, observers=(killer,))
    finally:
        executor.close()
    assert killer.kills == 2
    assert repr(timeless(ended.result)) == undisturbed()
    workers = {event.worker for event in ended.recorder.of(TrialStarted)}
    assert len(workers) > 2


def test_a_node_that_is_gone_costs_no_more_than_its_epochs(two_nodes: Any) -> None:
    third = two_nodes.add_node(num_cpus=1, resources={"third": 1})
    slow = Training(decaying, noise=0.03, seconds=0.05)
    bench = FakeBench(slow)

    def kill(worker: int) -> None:
        if third in two_nodes.worker_nodes:
            two_nodes.remove_node(third, allow_graceful=False)

    killer = Killer(kill, random.Random(1))
    executor = on_ray(bench, slow, count=3)
    try:
        ended = Ended(bench, executor, observers=(killer,))
    finally:
        executor.close()
        if third in two_nodes.worker_nodes:
            two_nodes.remove_node(third)
    assert killer.kills
    assert repr(timeless(ended.result)) == undisturbed()


def deadly(rate: float, age: int) -> float:
    if 0.76 < rate < 0.9 and age > 1:
        os._exit(1)
    return decaying(rate, age)


def test_a_trial_whose_workers_die_has_failed_and_the_search_goes_on(two_nodes: Any) -> None:
    bench = FakeBench(Training(decaying))
    executor = on_ray(bench, Training(deadly), restarts=1)
    try:
        ended = Ended(bench, executor)
    finally:
        executor.close()
    failed = [trial for trial in ended.result.trials if trial.state is TrialState.FAILED]
    assert failed
    for trial in failed:
        assert trial.reason.startswith("its worker died 2 times: The actor")
        assert "\n" not in trial.reason
    assert ended.result.within_budget


def test_what_stands_against_a_run_is_told_at_once(two_nodes: Any) -> None:
    bench = FakeBench(NOISY)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"asks for CPU 4, and no node .* has that \(they have"):
        on_ray(bench, NOISY, resources={"CPU": 4.0})
    with pytest.raises(UsageError, match=r"asks for CPU 0.5, GPU 1, and no node"):
        on_ray(bench, NOISY, resources={"CPU": 0.5, "GPU": 1.0})
    other = Surroundings({"python": "2"}, "cpu")
    with pytest.raises(UsageError, match=r"on worker .* python is 2, and here 3"):
        on_ray(bench, NOISY, count=1, there=other)
    with pytest.raises(UsageError, match=r"computes on cuda, and this process on cpu"):
        on_ray(bench, NOISY, count=1, there=Surroundings(HERE.versions, "cuda"))
    assert time.monotonic() - began < 60


def look_when_killed_often_enough(folder: str, times: int) -> Surroundings:
    if len(os.listdir(folder)) < times:
        os.mkdir(f"{folder}/{os.getpid()}")
        os.kill(os.getpid(), signal.SIGKILL)
    return HERE


def test_a_worker_that_dies_while_it_begins_is_begun_anew(two_nodes: Any, tmp_path: Path) -> None:
    ends = []
    for times in (1, 9):
        folder = tmp_path / str(times)
        folder.mkdir()
        factory = BenchFactory(
            partial(look_when_killed_often_enough, str(folder), times), partial(make, NOISY)
        )
        try:
            begun = RayWorkers(
                RayCluster("auto"), 1, {"CPU": 1.0}, factory, HERE, lambda told: None
            )
            begun.close()
            ends.append("begun")
        except UsageError as error:
            ends.append(str(error))
    assert ends[0] == "begun"
    assert ends[1].startswith("a worker of the Ray cluster could not begin: The actor ")
    assert len(os.listdir(tmp_path / "9")) == 4


def test_where_there_is_room_for_fewer_trials_it_is_said(two_nodes: Any) -> None:
    told: list[str] = []
    executor = on_ray(FakeBench(NOISY), NOISY, count=5, warn=told.append)
    executor.close()
    (message,) = told
    assert message.startswith("parallel_trials is 5, and the Ray cluster has room for 2")


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def test_a_cluster_that_is_not_there_is_no_endless_wait(
    unconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"Ray at {address}: there is no cluster"):
            RayCluster(address)
        # One that was there, and isn't any more.
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UsageError, match="Ray at auto: there is no cluster"):
            RayCluster("auto")
    with pytest.raises(UsageError, match="nowhere: neither local nor auto nor HOST:PORT"):
        RayCluster("nowhere")


def test_another_version_is_told_in_a_line(
    unconnected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Ray's words, of which there is no second version here."""
    import ray

    def init(**options: Any) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1\n"
            "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11\n"
        )

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UsageError) as error:
        RayCluster("local")
    assert str(error.value) == (
        "Ray on this machine: Version mismatch: The cluster was started with: Ray: 2.9.0 "
        "Python: 3.9.1 This process on node 10.0.0.1 was started with: Ray: 2.60.0 Python: 3.11"
    )


def test_without_ray_it_is_said_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "accaware\[ray\]"'):
        RayCluster()
