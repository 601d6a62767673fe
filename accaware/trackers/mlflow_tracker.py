"""MLflow: a run on its server for the whole, and one below it for each trial."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_status import RunState
from accaware.search.trial import TrialState
from accaware.trackers.mlflow_identity import MlflowIdentity, without_password
from accaware.trackers.mlflow_manners import PATIENCE, PATIENCE_WITH_FILES, mannered
from accaware.trackers.tracked_run import Points, TrackedRun, TrackedTrial

_RUN_TAG = "accaware.run"
_TRIAL_TAG = "accaware.trial"
_PARENT_TAG = "mlflow.parentRunId"
_RUNNING = "RUNNING"
_STATES = {
    RunState.FINISHED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.INTERRUPTED: "KILLED",
}
_VERDICTS = {
    TrialState.WITHIN_BUDGET: "FINISHED",
    TrialState.NOT_WITHIN_BUDGET: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
}
_COMPLETE = ("FINISHED", "FAILED")
"""A trial gets it when all of it has been sent. KILLED is one that was interrupted, too."""

_MOST_METRICS, _MOST_PARAMS = 800, 100
"""Of one request, which may have 1000 entries in all."""

_LONGEST = 500
"""Characters of a text, that older servers take too; the file config.json has all."""


@dataclass
class _Held:
    """A run, as far as the server has it; of one that is ``complete`` nothing more comes."""

    id: str
    experiment: str
    status: str = _RUNNING
    complete: bool = False
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: set[tuple[str, int]] = field(default_factory=set)


class MlflowTracker:
    """Sends what a server lacks.

    After a failure, and in a process that goes on with a run, the server is asked what it holds: a
    request may have been done though nobody answered.
    """

    name = "mlflow"

    def __init__(self, directory: RunDirectory) -> None:
        self._file = directory.mlflow
        self._parent: _Held | None = None
        self._trials: dict[int, _Held] = {}

    @staticmethod
    def check_installed() -> None:
        """See that it can be used.

        Raises:
            MissingExtraError: it isn't installed.
        """
        with mannered():
            pass

    def send(self, run: TrackedRun) -> None:
        """Send what is missing; whatever MLflow raises comes through."""
        with self._talking(PATIENCE) as (session, identity):
            if not identity.complete:
                self._send(session, run)

    def end(self, run: TrackedRun, directory: RunDirectory) -> None:
        """The same, the run's files and how it ended."""
        with self._talking(PATIENCE) as (session, identity):
            if identity.complete:
                return
            parent = self._send(session, run)
            for held in self._trials.values():
                if held.status == _RUNNING:
                    session.close(held, "KILLED", run.last)
            session.close(parent, _STATES[run.state], run.last)
        with self._talking(PATIENCE_WITH_FILES) as (session, _):
            session.upload(parent, directory, with_model=run.state is RunState.FINISHED)
        if run.state is RunState.FINISHED:
            replace(identity, complete=True).write(self._file)

    def _send(self, session: _Session, run: TrackedRun) -> _Held:
        parent = self._parent
        if parent is None:
            parent = self._parent = session.run_of(run)
            self._trials = session.trials_of(parent, run)
        session.bring(parent, run.params, run.points, {})
        for trial in run.trials.values():
            held = self._trials.get(trial.number)
            if held is None:
                held = self._trials[trial.number] = session.begin_trial(parent, trial)
            if held.complete:
                continue
            verdict = trial.verdict
            tags = {} if verdict is None else {"accaware.reason": verdict.reason[:_LONGEST]}
            session.bring(held, _texts(trial.params), trial.points, tags)
            if verdict is not None:
                session.close(held, _VERDICTS[verdict.state], trial.ended or run.last)
                held.complete = True
            elif held.status != _RUNNING:
                session.reopen(held)
        return parent

    @contextmanager
    def _talking(self, patience: Mapping[str, str]) -> Iterator[tuple[_Session, MlflowIdentity]]:
        """A session with the server. Where it breaks off, it isn't known what the server holds."""
        with mannered(patience) as mlflow:
            identity = self._identity(mlflow)
            # Where nobody says so anew, it is the server that the run began with.
            uri = identity.tracking_uri
            if mlflow.is_tracking_uri_set():
                uri = mlflow.get_tracking_uri()
            try:
                yield _Session(mlflow, uri, identity), identity
            except BaseException as error:
                self._parent, self._trials = None, {}
                if _is_silence(error):
                    raise ConnectionError(f"no answer from {without_password(uri)}") from error
                raise

    def _identity(self, mlflow: Any) -> MlflowIdentity:
        identity = MlflowIdentity.read(self._file)
        if identity is None:
            identity = MlflowIdentity.new(mlflow.get_tracking_uri(), os.environ)
            identity.write(self._file)
        return identity


class _Session:
    """MLflow's client, in the words of a run and its trials."""

    def __init__(self, mlflow: Any, uri: str, identity: MlflowIdentity) -> None:
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(uri)
        self._identity = identity

    def run_of(self, run: TrackedRun) -> _Held:
        """The server's run of this one, from an earlier process or a new one."""
        tag = self._identity.run
        experiment = self._experiment()
        found = self._client.search_runs(
            [experiment], f"tags.`{_RUN_TAG}` = '{tag}'", max_results=1
        )
        if found:
            held = self._held(found[0], complete=False)
            if held.status != _RUNNING:
                self.reopen(held)
            return held
        return self._begin(experiment, run.name, run.began, {_RUN_TAG: tag})

    def trials_of(self, parent: _Held, run: TrackedRun) -> dict[int, _Held]:
        """Those that the server has, by their numbers."""
        found: dict[int, _Held] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [parent.experiment], f"tags.`{_PARENT_TAG}` = '{parent.id}'", page_token=token
            )
            for one in page:
                number = int(one.data.tags.get(_TRIAL_TAG, -1))
                trial = run.trials.get(number)
                judged = trial is not None and trial.verdict is not None
                complete = judged and one.info.status in _COMPLETE
                if trial is not None:
                    found[number] = self._held(one, complete=complete)
            token = page.token
            if not token:
                return found

    def begin_trial(self, parent: _Held, trial: TrackedTrial) -> _Held:
        """A new run below that of the whole."""
        tags = {_PARENT_TAG: parent.id, _TRIAL_TAG: str(trial.number)}
        return self._begin(parent.experiment, trial.name, trial.began, tags)

    def bring(
        self, held: _Held, params: Mapping[str, str], points: Points, tags: Mapping[str, str]
    ) -> None:
        """What a run lacks; parameters stay what they were first."""
        entities = self._mlflow.entities
        texts = {_key(key): value[:_LONGEST] for key, value in params.items()}
        new_params = [
            entities.Param(key, text) for key, text in texts.items() if key not in held.params
        ]
        new_metrics = [
            entities.Metric(name, point.value, _milliseconds(point.time), step)
            for (name, step), point in points.items()
            if (name, step) not in held.metrics
        ]
        new_tags = [
            entities.RunTag(key, value)
            for key, value in tags.items()
            if held.tags.get(key) != value
        ]
        while new_params or new_metrics or new_tags:
            some = new_metrics[:_MOST_METRICS], new_params[:_MOST_PARAMS], new_tags
            self._client.log_batch(held.id, *some, synchronous=True)
            held.metrics |= {(one.key, one.step) for one in some[0]}
            held.params |= {one.key for one in some[1]}
            del new_metrics[:_MOST_METRICS], new_params[:_MOST_PARAMS], new_tags[:]
        held.tags |= tags

    def reopen(self, held: _Held) -> None:
        """It goes on."""
        self._client.update_run(held.id, status=_RUNNING)
        held.status = _RUNNING

    def close(self, held: _Held, status: str, time: float) -> None:
        """It has ended."""
        self._client.set_terminated(held.id, status, _milliseconds(time))
        held.status = status

    def upload(self, held: _Held, directory: RunDirectory, *, with_model: bool) -> None:
        """The files that there are; what was there of the same name is replaced."""
        for file in (directory.config, directory.result, directory.report):
            if file.is_file():
                self._client.log_artifact(held.id, str(file))
        if with_model and directory.model.is_file():
            self._client.log_artifact(held.id, str(directory.model), directory.model.parent.name)
        if with_model and directory.exports.is_dir():
            self._client.log_artifacts(held.id, str(directory.exports), directory.exports.name)

    def _begin(self, experiment: str, name: str, time: float, tags: dict[str, str]) -> _Held:
        made = self._client.create_run(
            experiment,
            start_time=_milliseconds(time),
            tags={**tags, "mlflow.source.name": "accaware"},
            run_name=name,
        )
        return _Held(made.info.run_id, experiment, tags=tags)

    def _held(self, run: Any, *, complete: bool) -> _Held:
        """What there is of a run; of one that is complete its status will do."""
        metrics = set()
        if not complete:
            metrics = {
                (name, point.step)
                for name in run.data.metrics
                for point in self._client.get_metric_history(run.info.run_id, name)
            }
        return _Held(
            id=run.info.run_id,
            experiment=run.info.experiment_id,
            status=run.info.status,
            complete=complete,
            params=set(run.data.params),
            tags=dict(run.data.tags),
            metrics=metrics,
        )

    def _experiment(self) -> str:
        """The id of the experiment that was asked for when the run began; made where need be."""
        name, number = self._identity.experiment_name, self._identity.experiment_id
        if name is None:
            return number or "0"
        there = self._client.get_experiment_by_name(name)
        if there is not None:
            return str(there.experiment_id)
        return str(self._client.create_experiment(name))


def _is_silence(error: BaseException) -> bool:
    """Whether a server that didn't answer is behind it."""
    from requests import ConnectionError as Unreachable
    from requests import Timeout  # comes with mlflow

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Unreachable | Timeout):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _texts(params: Mapping[str, str | float]) -> dict[str, str]:
    return {key: each if isinstance(each, str) else f"{each:g}" for key, each in params.items()}


def _key(key: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w.\- ]", "_", key)[:250]


def _milliseconds(time: float) -> int:
    return int(1000 * time)
