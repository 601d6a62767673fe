"""Search strategies and recipes of training on small tasks: how far, at what cost, and how true?

    python scripts/compare_search.py --recipes uniform_decrease distillation --output runs.jsonl

Each run is one search with a budget of 1 % on a dense model that is trained once and kept; it
validates on half of the validation data. A table for each task tells, over seeds, how much is
left out, what it took, and whether the final model is also within budget on the other half, which
the search never saw. A model that isn't within budget counts as the dense one, 1 x.

A recipe is a set of keys over the task's config; "a+b" is both. More can be given, as in

    --set tuned accuracy_aware_training.params.patience_epochs=3 --recipes tuned distillation+tuned

With --output, a line of JSON is added for each run, with its trials. Runs that are there already
aren't repeated, so that a long comparison can be cut short, gone on with, and read again.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Before torch is loaded, here and in the processes that begin with this module.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from search_tasks import TASKS
from search_tasks.task import Task

import accaware
from accaware import AccAwareConfig, RunResult
from accaware.config.load import examine_config
from accaware.errors import AccAwareError
from accaware.pytorch import load_compressed
from accaware.results.sizes import Size
from accaware.search.budget import AccuracyBudget

CACHE = Path(tempfile.gettempdir()) / "accaware-dense-models"

Settings = dict[str, Any]
"""Dotted keys of a config and their values; the value of APPEND is one more algorithm."""

APPEND = "compression[]"
PARAMS = "accuracy_aware_training.params"
DISTILLATION = {"algorithm": "knowledge_distillation", "scale": 2.33, "temperature": 2}
SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 4, "sparsity_freeze_epoch": 5},
}


def recipes(task: type[Task]) -> dict[str, Settings]:
    """What each changes in the task's config."""
    teacher = {**DISTILLATION, "type": task.distillation}
    if task.distillation == "mse":
        del teacher["temperature"]
    return {
        "uniform_decrease": {},
        "stop_when_within": {f"{PARAMS}.stop_trial_when_within_budget": True},
        "distillation": {APPEND: teacher},
        "multiples_of_8": {"compression[0].params.channel_multiple": 8},
        "all_weights": {"compression[0].params.all_weights": True},
        "sparsity": {"compression": [SPARSITY]},
    }


def base_config(task: type[Task], seed: int) -> dict[str, Any]:
    return {
        "metric": dict(task.metric),
        "batch_size": 64,
        "optimizer": dict(task.optimizer),
        "device": "cpu",
        "seed": seed,
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_relative_accuracy_degradation": 1.0,
                "initial_training_phase_epochs": 5,
                "patience_epochs": 5,
            },
        },
        "compression": [
            {
                "algorithm": "filter_pruning",
                "params": {
                    "pruning_target": 0.5,
                    "pruning_steps": 3,
                    "prune_first_conv": True,
                    "prune_downsample_convs": True,
                },
            }
        ],
    }


@dataclass(frozen=True)
class Job:
    """One run: a task's name, the seed of all that is random in it, and a recipe."""

    task: str
    seed: int
    recipe: str
    settings: Settings

    @property
    def config(self) -> AccAwareConfig:
        settings = copy.deepcopy(self.settings)
        data = base_config(TASKS[self.task], self.seed)
        data["compression"] = settings.pop("compression", data["compression"])
        data["compression"] += [settings.pop(APPEND)] if APPEND in settings else []
        texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return examine_config(data, texts).require()

    @property
    def key(self) -> Mapping[str, Any]:
        """What a line of results begins with, and is known by."""
        return vars(self)


def prepare() -> None:
    torch.set_num_threads(1)


def train_dense(name: str, seed: int, cache: Path) -> str:
    dense = TASKS[name](seed).load_dense(cache)
    return (
        f"{name}, seed {seed}: dense {dense.seen:.2f} seen, {dense.unseen:.2f} unseen; "
        f"{dense.epoch_seconds:.2f} s an epoch"
    )


def search(job: Job, cache: Path) -> dict[str, Any]:
    """Run it, and judge what it found on the half that it didn't see."""
    task = TASKS[job.task](job.seed)
    dense = task.load_dense(cache)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        directory = Path(folder) / "run"
        result = accaware.run(job.config, plugin=task, output_dir=directory, progress=False)
        model = task.create_model()
        if result.model_path is not None:
            load_compressed(result.model_path, model)
        unseen = task.measure(model, task.parts.unseen)
    budget = AccuracyBudget.from_params(
        job.config.accuracy_aware_training, dense.unseen, result.search.budget.higher_is_better
    )
    return {
        **job.key,
        **found(result),
        "unseen": {
            "dense": budget.baseline,
            "metric": unseen,
            "drop": budget.absolute_degradation(unseen) / budget.tolerance,
        },
        "epochs": result.epochs,
        "seconds": result.seconds,
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


def found(result: RunResult) -> dict[str, Any]:
    """The final model against the dense one: ratios of dense to compressed, drops in budgets."""
    best, budget, model = result.best, result.search.budget, result.model
    metric = budget.baseline if best is None else best.metric
    return {
        "within_budget": result.within_budget,
        "rate": 0.0 if best is None else best.compression_rate,
        "flops": 1.0 if model is None else _ratio(model.sizes.flops),
        "parameters": 1.0 if model is None else _ratio(model.sizes.nonzero_parameters),
        "seen": {
            "dense": budget.baseline,
            "metric": metric,
            "drop": budget.absolute_degradation(metric) / budget.tolerance,
        },
    }


def _ratio(size: Size) -> float:
    return size.dense / size.compressed


def read(output: Path | None) -> list[dict[str, Any]]:
    if output is None or not output.exists():
        return []
    return [json.loads(line) for line in output.read_text().splitlines()]


def compare(jobs: list[Job], options: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """What came of each, and whether any failed."""
    there = {_identity(record): record for record in read(options.output)}
    records = [there[_identity(job.key)] for job in jobs if _identity(job.key) in there]
    missing = [job for job in jobs if _identity(job.key) not in there]
    failed = False
    # Not forked: torch's threads wouldn't survive that.
    workers = ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=prepare)
    with workers:
        models = sorted({(job.task, job.seed) for job in missing})
        dense = [workers.submit(train_dense, *model, options.cache) for model in models]
        for trained in as_completed(dense):
            print(trained.result(), flush=True)
        futures = {workers.submit(search, job, options.cache): job for job in missing}
        for future in as_completed(futures):
            job = futures[future]
            try:
                record = future.result()
            except AccAwareError as error:
                print(f"{job.task}, seed {job.seed}, {job.recipe}: FAILED: {error}", flush=True)
                failed = True
                continue
            records.append(record)
            print(told(record), flush=True)
            if options.output is not None:
                with options.output.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return records, failed


def _identity(record: Mapping[str, Any]) -> str:
    named = [record[name] for name in ("task", "seed", "recipe", "settings")]
    return json.dumps(named, sort_keys=True)


def told(record: Mapping[str, Any]) -> str:
    seen, unseen = record["seen"], record["unseen"]
    verdict = "within budget" if record["within_budget"] else "NOT within budget"
    return (
        f"{record['task']}, seed {record['seed']}, {record['recipe']}: rate {record['rate']:.3f}, "
        f"FLOPs {record['flops']:.2f} x, {seen['metric']:.2f} ({seen['drop']:.2f} budgets, "
        f"unseen {unseen['drop']:.2f}), {verdict}, {record['epochs']} epochs, "
        f"{record['seconds']:.0f} s"
    )


COLUMNS = (
    ("rate", 6),
    ("FLOPs x", 8),
    ("from - to", 14),
    ("params x", 9),
    ("metric", 8),
    ("drop", 6),
    ("within", 7),
    ("epochs", 7),
    ("seconds", 8),
    ("unseen drop", 12),
    ("beyond", 7),
)


def table(records: Iterable[Mapping[str, Any]], task: str, names: Iterable[str]) -> None:
    """A line a recipe, over seeds; drops are in budgets."""
    of_task = [record for record in records if record["task"] == task]
    dense = {record["seed"]: record["seen"]["dense"] for record in of_task}
    print(f"\n{task}: dense {', '.join(f'{value:.2f}' for _, value in sorted(dense.items()))}")
    width = max(map(len, names))
    print(" " * width, *(f"{title:>{size}}" for title, size in COLUMNS))
    for name in names:
        runs = [record for record in of_task if record["recipe"] == name]
        if runs:
            cells = zip(row(runs), COLUMNS, strict=True)
            print(f"{name:<{width}}", *(f"{cell:>{size}}" for cell, (_, size) in cells))


def row(runs: list[Mapping[str, Any]]) -> list[str]:
    passed = [run for run in runs if run["within_budget"]]
    flops, parameters = (
        [run[name] if run["within_budget"] else 1.0 for run in runs]
        for name in ("flops", "parameters")
    )
    beyond = [run for run in passed if run["unseen"]["drop"] > 1]
    mean = statistics.fmean
    return [
        f"{mean(run['rate'] for run in runs):.3f}",
        f"{statistics.geometric_mean(flops):.2f}",
        f"{min(flops):.2f} - {max(flops):.2f}",
        f"{statistics.geometric_mean(parameters):.2f}",
        f"{mean(run['seen']['metric'] for run in runs):.2f}",
        f"{mean(run['seen']['drop'] for run in runs):.2f}",
        f"{len(passed)}/{len(runs)}",
        f"{mean(run['epochs'] for run in runs):.1f}",
        f"{mean(run['seconds'] for run in runs):.0f}",
        f"{mean(run['unseen']['drop'] for run in passed):.2f}" if passed else "-",
        f"{len(beyond)}/{len(passed)}",
    ]


def settings_of(recipe: str, known: Mapping[str, Settings]) -> Settings:
    """Those of a recipe, or of several joined by +.

    Raises:
        SystemExit: there is none of that name.
    """
    merged: Settings = {}
    for name in recipe.split("+"):
        if name not in known:
            sys.exit(f"there is no recipe {name}; there are {', '.join(known)}")
        merged |= known[name]
    return merged


def given(texts: Iterable[str]) -> Settings:
    """KEY=VALUE each; a value is JSON, or else a bare string."""
    settings: Settings = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            sys.exit(f"--set: {text} is not KEY=VALUE")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", help="of those known and set; default: all")
    parser.add_argument(
        "--set",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "KEY=VALUE"),
        help=f"another recipe; {APPEND} adds an algorithm",
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a thread each")
    parser.add_argument("--output", type=Path, help="a file of JSON lines to add to, and to read")
    parser.add_argument("--cache", type=Path, default=CACHE, help="a folder for dense models")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    extra = {name: given(texts) for name, *texts in options.set}
    known = {name: recipes(TASKS[name]) | extra for name in options.tasks}
    names = options.recipes or list(known[options.tasks[0]])
    jobs = [
        Job(task, seed, recipe, settings_of(recipe, known[task]))
        for seed in options.seeds
        for task in options.tasks
        for recipe in names
    ]
    for job in jobs:
        try:
            _ = job.config
        except AccAwareError as error:
            sys.exit(f"{job.recipe}: {error}")
    records, failed = compare(jobs, options)
    for task in options.tasks:
        table(records, task, names)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
