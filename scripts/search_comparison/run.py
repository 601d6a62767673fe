"""One search, and what there is to tell of it."""

from __future__ import annotations

import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import accaware
from accaware import AccAwareConfig, RunResult
from accaware.pytorch import load_compressed
from accaware.results.sizes import Size
from accaware.search.budget import AccuracyBudget
from search_comparison import TASKS
from search_comparison.recipes import Settings, config_of


@dataclass(frozen=True)
class Job:
    """A task's name, the seed of all that is random in a run of it, and a recipe."""

    task: str
    seed: int
    recipe: str
    settings: Settings

    @property
    def config(self) -> AccAwareConfig:
        return config_of(TASKS[self.task], self.seed, self.settings)

    @property
    def key(self) -> Mapping[str, Any]:
        """What a record of it begins with, and is known by."""
        return vars(self)


def one_thread() -> None:
    """What a process does first that is to search."""
    torch.set_num_threads(1)


def train_dense(model: tuple[str, int], cache: Path) -> str:
    """See that the dense model of a task and a seed is there, and tell of it."""
    name, seed = model
    dense = TASKS[name](seed).load_dense(cache)
    return (
        f"{name}, seed {seed}: dense {dense.seen:.2f} seen, {dense.unseen:.2f} unseen; "
        f"an epoch takes {dense.epoch_seconds:.2f} s of CPU"
    )


def search(job: Job, cache: Path) -> dict[str, Any]:
    """Run it, and judge what it found on the half that it didn't see: the record of the run.

    Where anything goes wrong, that is the record: other runs go on.
    """
    try:
        return _record(job, cache)
    except Exception:  # noqa: BLE001
        return {**job.key, "failed": traceback.format_exc()}


def _record(job: Job, cache: Path) -> dict[str, Any]:
    task = TASKS[job.task](job.seed)
    dense = task.load_dense(cache)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        directory = Path(folder) / "run"
        began = time.process_time()
        result = accaware.run(job.config, plugin=task, output_dir=directory, progress=False)
        cpu_seconds = time.process_time() - began
        model = task.create_model()
        if result.model_path is not None:
            load_compressed(result.model_path, model)
    metric, error = task.against_dense(model, task.parts.unseen)
    budget = AccuracyBudget.from_params(
        job.config.accuracy_aware_training, dense.unseen, result.search.budget.higher_is_better
    )
    return {
        **job.key,
        **_found(result),
        "unseen": {**_judged(budget, metric), "standard_error": error / budget.tolerance},
        "epochs": result.epochs,
        "seconds": result.seconds,
        "cpu_seconds": cpu_seconds,
        "stop_reason": result.stop_reason.name.lower(),
        "trials": [
            {
                "phase": trial.phase.value,
                "target_rate": trial.target_rate,
                "rate": trial.compression_rate,
                "epochs": sum(epoch.number > 0 for epoch in trial.epochs),
                "metric": trial.metric,
                "metrics": [epoch.metric for epoch in trial.epochs],
                "state": trial.state.value,
            }
            for trial in result.trials
        ],
        "warnings": sorted({str(one.message) for one in caught}),
    }


def _found(result: RunResult) -> dict[str, Any]:
    """The final model against the dense one, as ratios of dense to compressed."""
    best, budget, model = result.best, result.search.budget, result.model
    return {
        "within_budget": result.within_budget,
        "rate": 0.0 if best is None else best.compression_rate,
        "flops": 1.0 if model is None else _ratio(model.sizes.flops),
        "parameters": 1.0 if model is None else _ratio(model.sizes.nonzero_parameters),
        "seen": _judged(budget, budget.baseline if best is None else best.metric),
    }


def _judged(budget: AccuracyBudget, metric: float) -> dict[str, float]:
    """A metric, and what it lost, in budgets."""
    drop = budget.absolute_degradation(metric) / budget.tolerance
    return {"dense": budget.baseline, "metric": metric, "drop": drop}


def _ratio(size: Size) -> float:
    return size.dense / size.compressed
