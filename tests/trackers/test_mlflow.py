"""An MLflow server on a sqlite store, which is killed at times."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from accaware.api.run_result import RunResult
from accaware.rundir.directory import RunDirectory
from accaware.search.trial import TrialState
from accaware.trackers.mlflow_manners import mannered
from accaware.trackers.mlflow_tracker import MlflowTracker
from accaware.trackers.tracking import Tracking
from tests.trackers.conftest import (
    SIDE_BY_SIDE,
    AtEpoch,
    MlflowServer,
    Tracked,
    interrupt,
    side_by_side,
)

Curves = dict[str, dict[int, float]]
"""By metric: steps and values."""


@dataclass
class Shown:
    """A run of MLflow's, as its store has it."""

    id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    curves: Curves
    files: dict[str, int]


def shown(server: MlflowServer) -> dict[str, Shown]:
    """The runs of the experiment that MLflow's variable names, by their names."""
    with closing(sqlite3.connect(server.store)) as store:
        runs = store.execute(
            "SELECT runs.run_uuid, runs.name, status, artifact_uri FROM runs "
            "JOIN experiments USING (experiment_id) WHERE experiments.name = ?",
            [os.environ["MLFLOW_EXPERIMENT_NAME"]],
        ).fetchall()
        assert len({name for _, name, *_ in runs}) == len(runs), "a run is there twice"
        found = {}
        for number, name, status, place in runs:
            params, tags = (
                dict(store.execute(f"SELECT key, value FROM {each} WHERE run_uuid = ?", [number]))
                for each in ("params", "tags")
            )
            points: Curves = defaultdict(dict)
            for key, step, value in store.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ?", [number]
            ):
                assert step not in points[key], f"{name} {key} has step {step} twice"
                points[key][step] = value
            folder = server.artifacts / place.removeprefix("mlflow-artifacts:/")
            files = {
                str(path.relative_to(folder)): path.stat().st_size
                for path in folder.rglob("*")
                if path.is_file()
            }
            found[name] = Shown(number, status, params, tags, dict(points), files)
    return found


def settled(found: dict[str, Shown]) -> dict[str, Curves]:
    """Their curves, without what differs in another run of the same."""
    return {
        name: {key: points for key, points in run.curves.items() if key != "result/seconds"}
        for name, run in found.items()
    }


@dataclass
class Undisturbed:
    """A run that nothing happened to."""

    result: RunResult
    path: Path
    runs: dict[str, Shown]


def exported(path: Path) -> None:
    (path / "exports").mkdir()
    (path / "exports" / "model.onnx").write_bytes(b"a model")


# As long as the server is there: xdist may come back to this module, where another was begun.
@pytest.fixture(scope="session")
def undisturbed(
    mlflow_process: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    run = Tracked(tmp_path_factory.mktemp("peace") / "run", ["mlflow"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_process.uri)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "undisturbed")
        mlflow_process.start()
        result = run.go(AtEpoch(epoch_1=lambda: exported(run.path)))
        assert result is not None
        assert run.warned == []
        return Undisturbed(result, run.path, shown(mlflow_process))


def test_a_run_and_its_trials_are_there_with_all_that_they_were(undisturbed: Undisturbed) -> None:
    result, runs = undisturbed.result, undisturbed.runs
    whole = runs["run"]
    assert whole.status == "FINISHED"
    assert whole.params["batch_size"] == "16"
    assert whole.params["accuracy_aware_training.params.patience_epochs"] == "2"
    assert whole.params["plugin_args.any key_ a_b _ c"].startswith("long long")
    assert float(whole.params["baseline"]) == result.baseline
    epochs = [epoch for trial in result.trials for epoch in trial.epochs]
    assert whole.curves["validation/metric"] == {epoch.number: epoch.metric for epoch in epochs}
    assert whole.curves["train/loss"] == {epoch.number: epoch.loss for epoch in epochs}
    assert result.best is not None
    found = whole.curves["result/compression_rate"]
    assert found == {result.epochs: result.best.compression_rate}
    sent = (
        *("config.json", "result.json", "report.html"),
        *("best/model.pt", "exports/model.onnx"),
    )
    assert whole.files == {name: (undisturbed.path / name).stat().st_size for name in sent}

    assert len(runs) == 1 + len(result.trials)
    assert {run.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, whole.id}
    for trial in result.trials:
        own = runs[f"trial {trial.number}"]
        assert own.status == "FINISHED"
        assert float(own.params["target_rate"]) == pytest.approx(trial.target_rate)
        told = {epoch.number: epoch.metric for epoch in trial.epochs}
        assert own.curves["validation/metric"] == told
        assert list(own.curves["trial/metric"].values()) == [trial.metric]
        assert own.tags["accaware.reason"] == trial.reason


def test_a_server_that_is_killed_costs_a_warning_and_no_point(
    tmp_path: Path, mlflow_server: MlflowServer, at_once: None, undisturbed: Undisturbed
) -> None:
    run = Tracked(tmp_path / "run", ["mlflow"])
    result = run.go(AtEpoch(epoch_2=mlflow_server.kill, epoch_5=mlflow_server.start))
    assert result is not None
    assert result.within_budget
    (warning,) = run.warned
    assert warning == (
        f"mlflow: no answer from {mlflow_server.uri}; the run goes on, and sends what is missing "
        "later, at its end at the latest"
    )
    found = shown(mlflow_server)
    assert settled(found) == settled(undisturbed.runs)
    assert {one.status for one in found.values()} == {"FINISHED"}


def test_what_a_server_has_done_unanswered_isnt_done_again(
    tmp_path: Path,
    mlflow_server: MlflowServer,
    at_once: None,
    undisturbed: Undisturbed,
) -> None:
    """It dies at requests of all kinds: where a run is made, where it gets numbers or an end."""
    deaths = iter((4, 5, 6, 7, 9))
    mlflow_server.start(2)

    def again() -> None:
        mlflow_server.start(next(deaths))

    epochs = {f"epoch_{number}": again for number in range(1, 5)}
    run = Tracked(tmp_path / "run", ["mlflow"])
    run.go(AtEpoch(**epochs, epoch_5=mlflow_server.start))
    assert len(run.warned) == 1
    assert settled(shown(mlflow_server)) == settled(undisturbed.runs)


def test_a_run_that_goes_on_is_the_same_one(
    tmp_path: Path,
    mlflow_server: MlflowServer,
    at_once: None,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Tracked(tmp_path / "run", ["mlflow"])
    run.go(AtEpoch(epoch_2=interrupt))
    found = shown(mlflow_server)
    states = {name: one.status for name, one in found.items()}
    assert states == {"run": "KILLED", "trial 0": "FINISHED", "trial 1": "KILLED"}
    assert set(found["run"].files) == {"config.json", "result.json", "report.html"}
    run.go(AtEpoch(epoch_4=interrupt), exits=False)
    assert shown(mlflow_server)["run"].status == "RUNNING"
    # It knows where that was, and in which experiment.
    with monkeypatch.context() as patch:
        patch.delenv("MLFLOW_EXPERIMENT_NAME")
        patch.delenv("MLFLOW_TRACKING_URI")
        run.go()
    found = shown(mlflow_server)
    assert settled(found) == settled(undisturbed.runs)
    assert {one.status for one in found.values()} == {"FINISHED"}
    assert run.warned == []


def test_what_is_missing_in_the_end_is_sent_when_the_run_is_resumed(
    tmp_path: Path, mlflow_server: MlflowServer, at_once: None, undisturbed: Undisturbed
) -> None:
    run = Tracked(tmp_path / "run", ["mlflow"])
    assert run.go(AtEpoch(epoch_3=mlflow_server.kill)) is not None
    assert [warning.split(":")[0] for warning in run.warned] == [
        "mlflow",
        "mlflow lacks some of the run",
    ]
    assert run.warned[1].endswith("; to go on: again")
    mlflow_server.start()
    run.tracking().send_ended()
    found = shown(mlflow_server)
    assert settled(found) == settled(undisturbed.runs)
    assert found["run"].status == "FINISHED"
    assert "best/model.pt" in found["run"].files
    # From there on nobody asks for it.
    mlflow_server.kill()
    run.tracking().send_ended()
    assert len(run.warned) == 2


def test_trials_side_by_side_end_each_in_its_own_way(
    tmp_path: Path, mlflow_server: MlflowServer
) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    result = side_by_side(directory)
    assert {trial.state for trial in result.trials} > {TrialState.CANCELLED}
    for _ in range(2):  # the second time there is nothing to send
        Tracking(
            directory,
            SIDE_BY_SIDE,
            [MlflowTracker(directory)],
            warn=pytest.fail,
            to_resume="",
        ).send_ended()
    found = shown(mlflow_server)
    assert found.pop("run").status == "KILLED"  # it left no result
    for trial in result.trials:
        own = found.pop(f"trial {trial.number}")
        assert own.status == ("KILLED" if trial.cancelled else "FINISHED")
        losses = {epoch.number: epoch.loss for epoch in trial.epochs}
        assert own.curves.get("train/loss", {}) == losses
    assert found == {}


def test_it_tells_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's telemetry is off where it works for a run; here the tests alone keep it off."""
    MlflowTracker.check_installed()
    from mlflow.telemetry import get_telemetry_client, utils

    assert get_telemetry_client() is None
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)
    assert not utils.is_telemetry_disabled()
    with mannered():
        assert utils.is_telemetry_disabled()


def test_a_server_that_never_answers_is_asked_at_the_begin_and_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{address}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        run = Tracked(tmp_path / "run", ["mlflow"])
        assert run.go() is not None
        server.setblocking(False)
        asked = 0
        with suppress(BlockingIOError):
            while True:
                server.accept()[0].close()
                asked += 1
    assert asked == 2
    assert len(run.warned) == 2
    assert all(f"no answer from http://{address}" in warning for warning in run.warned)
    assert "secret" not in (run.path / "mlflow.json").read_text()
