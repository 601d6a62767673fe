"""Runs over a scripted model, told to trackers, and an MLflow server to tell them to."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accaware.api.lifecycle.final_report import final_report
from accaware.api.lifecycle.run_lifecycle import conduct
from accaware.api.run_result import RunResult
from accaware.cli.output import Output
from accaware.results import strict_json
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal
from accaware.search import AdaptiveParams, SearchResult
from accaware.search.events import EpochFinished, Event
from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.ports import Observer
from accaware.trackers import TRACKERS, tracking
from accaware.trackers.tracking import Tracking
from tests.cli.scripted_run import starting
from tests.runners.base import Config
from tests.runners.benches import FakeBench, MixedUpExecutor, Training, several
from tests.runners.fake import Script, adaptive, holds_up_to
from tests.runners.processes import ROOT

PARAMS = adaptive(patience_epochs=2, minimal_compression_rate_step=0.1)
CONFIG = {
    "accuracy_aware_training": {"params": {"patience_epochs": 2}},
    "batch_size": 16,
    "plugin_args": {"any key: a/b = c": "long " * 2000, "a key: a=b / c": None},
}


class AtEpoch:
    """An observer that does something once an epoch has been trained, before all else is told."""

    def __init__(self, **deeds: Callable[[], object]) -> None:
        self._deeds = {int(name.removeprefix("epoch_")): deed for name, deed in deeds.items()}

    def notify(self, event: Event) -> None:
        if isinstance(event, EpochFinished):
            self._deeds.pop(event.epoch.number, lambda: None)()


def interrupt() -> None:
    raise KeyboardInterrupt


@dataclass
class Tracked:
    """A run in a directory, and what its trackers were warned of."""

    path: Path
    trackers: Sequence[str]
    metric: Script = field(default_factory=lambda: holds_up_to(0.65))
    params: AdaptiveParams = PARAMS
    warned: list[str] = field(default_factory=list)

    def go(self, *observers: Observer, exits: bool = True) -> RunResult | None:
        """Begin it or go on with it; None where it was interrupted.

        Args:
            exits: False leaves trackers as a process that is killed does.
        """
        there = self.path.exists()
        directory = RunDirectory.open(self.path) if there else RunDirectory.create(self.path)
        directory.config.write_text(strict_json.document(CONFIG))
        listener = Output(quiet=True)
        report = final_report(directory, listener, wanted=True)
        tracking = self.tracking(directory)
        with suppress(KeyboardInterrupt):
            if not exits:
                return self._conduct(directory, listener, [*observers, tracking])
            with tracking, report:
                return self._conduct(directory, listener, [*observers, tracking])
        return None

    def tracking(self, directory: RunDirectory | None = None) -> Tracking:
        directory = directory or RunDirectory.open(self.path)
        return Tracking(
            directory,
            CONFIG,
            [TRACKERS[name](directory) for name in self.trackers],
            warn=self.warned.append,
            to_resume="to go on: again",
        )

    def _conduct(
        self, directory: RunDirectory, listener: Output, observers: list[Observer]
    ) -> RunResult:
        start = starting(self.metric, self.params, loss=lambda rate, age: rate + 0.1 * age)
        return conduct(
            start, directory, "top1", listener, observers=observers, handle_signals=False
        )


SIDE_BY_SIDE = {"accuracy_aware_training": {"params": {"parallel_trials": 2}}}


def side_by_side(directory: RunDirectory) -> SearchResult:
    """A search with two trials at a time, whose reports are mixed up, and its journal.

    Some are left when a higher rate passes.
    """
    training = Training(lambda rate, age: 1.0 if rate > 0.3 and age > 1 else 0.8)
    params = several(2, maximal_compression_rate=0.5)
    bench = FakeBench(training)
    with Journal(directory.events) as journal:
        loop = create_accuracy_aware_training_loop(
            Config(params),
            bench.controller,
            1.0,
            observers=[journal],
            executor=MixedUpExecutor(training, random.Random(1), bench.runner.saved, 1),
        )
        return loop.drive(bench.runner)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers are told of each epoch, however short it is, and asked again at once."""
    monkeypatch.setattr(tracking, "_SHARE", 1.0)
    monkeypatch.setattr(tracking, "_AFTER_FAILURE", 0.0)


class MlflowServer:
    """A server that can be killed, and asked what it holds."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self.store, self.artifacts = folder / "store.db", folder / "artifacts"
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.trackers.mlflow_server", folder, str(self._port)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self, last: int | str = "") -> None:
        """Begin anew; it dies when it has done what the ``last`` request asks for."""
        self._do(f"start {last}")
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        self._do("kill")

    def close(self) -> None:
        self.kill()
        self._process.kill()
        self._process.communicate()

    def _do(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        # The first line of all tells that it is ready.
        while (said := self._process.stdout.readline().strip()) != line.split()[0]:
            assert said == "ready", said


@pytest.fixture(scope="session")
def mlflow_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.close()


@pytest.fixture
def mlflow_server(mlflow_process: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    """A server that runs, where MLflow's variables say, and an experiment of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_process.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"experiment-{uuid.uuid4().hex}")
    mlflow_process.start()
    return mlflow_process
