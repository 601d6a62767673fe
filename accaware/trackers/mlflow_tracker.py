"""MLflow: a run on its server for the whole, and one below it for each trial."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_status import RunState
from accaware.search.trial import TrialState
from accaware.trackers.mlflow_identity import MlflowIdentity, without_password
from accaware.trackers.mlflow_manners import PATIENCE, PATIENCE_WITH_FILES, mannered
from accaware.trackers.mlflow_session import RUNNING, Held, MlflowSession
from accaware.trackers.tracked_run import TrackedRun

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


class MlflowTracker:
    """Sends what a server lacks.

    After a failure, and in a process that goes on with a run, the server is asked what it holds: a
    request may have been done though nobody answered.
    """

    name = "mlflow"

    def __init__(self, directory: RunDirectory) -> None:
        self._file = directory.mlflow
        self._parent: Held | None = None
        self._trials: dict[int, Held] = {}

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
                if held.status == RUNNING:
                    session.close(held, "KILLED", run.last)
            session.close(parent, _STATES[run.state], run.last)
        with self._talking(PATIENCE_WITH_FILES) as (session, _):
            session.upload(parent, directory, with_model=run.state is RunState.FINISHED)
        if run.state is RunState.FINISHED:
            replace(identity, complete=True).write(self._file)

    def _send(self, session: MlflowSession, run: TrackedRun) -> Held:
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
            tags = {} if verdict is None else {"accaware.reason": verdict.reason}
            session.bring(held, _texts(trial.params), trial.points, tags)
            if verdict is not None:
                session.close(held, _VERDICTS[verdict.state], trial.ended or run.last)
                held.complete = True
            elif held.status != RUNNING:
                session.reopen(held)
        return parent

    @contextmanager
    def _talking(
        self, patience: Mapping[str, str]
    ) -> Iterator[tuple[MlflowSession, MlflowIdentity]]:
        """A session with the server. Where it breaks off, it isn't known what the server holds."""
        with mannered(patience) as mlflow:
            identity = self._identity(mlflow)
            # Where nobody says so anew, it is the server that the run began with.
            uri = identity.tracking_uri
            if mlflow.is_tracking_uri_set():
                uri = mlflow.get_tracking_uri()
            try:
                yield MlflowSession(mlflow, uri, identity), identity
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
