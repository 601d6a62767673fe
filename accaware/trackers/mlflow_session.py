"""What MLflow's client is asked to do, in the words of a run and its trials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accaware.rundir.directory import RunDirectory
from accaware.trackers.mlflow_identity import MlflowIdentity
from accaware.trackers.tracked_run import Points, TrackedRun, TrackedTrial

RUNNING = "RUNNING"
"""MLflow's word for a run that hasn't ended."""

_RUN_TAG = "accaware.run"
_TRIAL_TAG = "accaware.trial"
_PARENT_TAG = "mlflow.parentRunId"
_COMPLETE = ("FINISHED", "FAILED")
"""A trial gets it when all of it has been sent. KILLED is one that was interrupted, too."""

_MOST_METRICS, _MOST_PARAMS = 800, 100
"""Of one request, which may have 1000 entries in all."""

_LONGEST = 500
"""Characters of a text, that older servers take too; the file config.json has all."""


@dataclass
class Held:
    """A run of MLflow's, as far as it is there; of one that is ``complete`` nothing more comes."""

    id: str
    experiment: str
    status: str = RUNNING
    complete: bool = False
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: set[tuple[str, int]] = field(default_factory=set)


class MlflowSession:
    """A client of one server or store, for one run.

    Whatever MLflow raises comes through.
    """

    def __init__(self, mlflow: Any, uri: str, identity: MlflowIdentity) -> None:
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(uri)
        self._identity = identity

    def run_of(self, run: TrackedRun) -> Held:
        """The server's run of this one, from an earlier process or a new one."""
        tag = self._identity.run
        experiment = self._experiment()
        found = self._client.search_runs(
            [experiment], f"tags.`{_RUN_TAG}` = '{tag}'", max_results=1
        )
        if found:
            held = self._held(found[0], complete=False)
            if held.status != RUNNING:
                self.reopen(held)
            return held
        return self._begin(experiment, run.name, run.began, {_RUN_TAG: tag})

    def trials_of(self, parent: Held, run: TrackedRun) -> dict[int, Held]:
        """Those that the server has, by their numbers."""
        found: dict[int, Held] = {}
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

    def begin_trial(self, parent: Held, trial: TrackedTrial) -> Held:
        """A new run below that of the whole."""
        tags = {_PARENT_TAG: parent.id, _TRIAL_TAG: str(trial.number)}
        return self._begin(parent.experiment, trial.name, trial.began, tags)

    def bring(
        self, held: Held, params: Mapping[str, str], points: Points, tags: Mapping[str, str]
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
        marks = {key: value[:_LONGEST] for key, value in tags.items()}
        new_tags = [
            entities.RunTag(key, text) for key, text in marks.items() if held.tags.get(key) != text
        ]
        while new_params or new_metrics or new_tags:
            some = new_metrics[:_MOST_METRICS], new_params[:_MOST_PARAMS], new_tags
            self._client.log_batch(held.id, *some, synchronous=True)
            held.metrics |= {(one.key, one.step) for one in some[0]}
            held.params |= {one.key for one in some[1]}
            del new_metrics[:_MOST_METRICS], new_params[:_MOST_PARAMS], new_tags[:]
        held.tags |= marks

    def reopen(self, held: Held) -> None:
        """It goes on."""
        self._client.update_run(held.id, status=RUNNING)
        held.status = RUNNING

    def close(self, held: Held, status: str, time: float) -> None:
        """It has ended."""
        self._client.set_terminated(held.id, status, _milliseconds(time))
        held.status = status

    def upload(self, held: Held, directory: RunDirectory, *, with_model: bool) -> None:
        """The files that there are; what was there of the same name is replaced."""
        for file in (directory.config, directory.result, directory.report):
            if file.is_file():
                self._client.log_artifact(held.id, str(file))
        if with_model and directory.model.is_file():
            self._client.log_artifact(held.id, str(directory.model), directory.model.parent.name)
        if with_model and directory.exports.is_dir():
            self._client.log_artifacts(held.id, str(directory.exports), directory.exports.name)

    def _begin(self, experiment: str, name: str, time: float, tags: dict[str, str]) -> Held:
        made = self._client.create_run(
            experiment,
            start_time=_milliseconds(time),
            tags={**tags, "mlflow.source.name": "accaware"},
            run_name=name,
        )
        return Held(made.info.run_id, experiment, tags=tags)

    def _held(self, run: Any, *, complete: bool) -> Held:
        """What there is of a run; of one that is complete its status will do."""
        metrics = set()
        if not complete:
            metrics = {
                (name, point.step)
                for name in run.data.metrics
                for point in self._client.get_metric_history(run.info.run_id, name)
            }
        return Held(
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


def _key(key: str) -> str:
    """A name that MLflow takes."""
    return re.sub(r"[^\w.\- ]", "_", key)[:250]


def _milliseconds(time: float) -> int:
    return int(1000 * time)
