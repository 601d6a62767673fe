"""Search strategies and recipes of training on small tasks: how far, at what cost, and how true?

    python scripts/compare_search.py --recipes uniform_decrease recommended --output runs.jsonl

Each run is one search with a budget of 1 % on a dense model that is trained once and kept; it
validates on half of the validation data. There is a table for each task, over seeds, in which

- "FLOPs x" and "params x" are dense over compressed, geometric means; a run that ends beyond its
  budget counts as 1 there; "from - to" is the spread of the first;
- "drop" is what the metric lost, in budgets;
- "unseen drop" is the same on the other half, which the search never saw, of the models that were
  within budget on the first; "beyond" tells how many of them aren't on this one, and "by > 1 SE"
  how many by more than the standard error of that drop;
- seconds are the processor's, so that a busy machine doesn't count.

A recipe is a set of keys over the task's config; "a+b" is both. More can be given, as in

    --set tuned accuracy_aware_training.params.patience_epochs=3 --recipes tuned distillation+tuned

With --output, a line of JSON is added for each run, with its trials. Runs that are there already
aren't repeated, so that a long comparison can be cut short, gone on with, and read again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path

# Before torch is loaded, here and in the processes that begin with this module.
os.environ["OMP_NUM_THREADS"] = "1"

from search_comparison import TASKS
from search_comparison.recipes import APPEND, Settings, recipes
from search_comparison.run import Job, one_thread, search, train_dense
from search_comparison.table import Record, table, told

from accaware.errors import AccAwareError

CACHE = Path(tempfile.gettempdir()) / "accaware-dense-models"


def read(output: Path | None) -> dict[str, Record]:
    """The records of a file, by what their runs are known by."""
    if output is None or not output.exists():
        return {}
    records = map(json.loads, output.read_text().splitlines())
    return {_identity(record): record for record in records}


def compare(jobs: list[Job], options: argparse.Namespace) -> tuple[list[Record], bool]:
    """What came of each, and whether any failed."""
    there = read(options.output)
    records = [there[_identity(job.key)] for job in jobs if _identity(job.key) in there]
    missing = [job for job in jobs if _identity(job.key) not in there]
    failed = False
    # Not forked: torch's threads wouldn't survive that. The pool ends its processes when it's left.
    with get_context("spawn").Pool(options.jobs, one_thread) as pool:
        models = sorted({(job.task, job.seed) for job in missing})
        for line in pool.imap_unordered(partial(train_dense, cache=options.cache), models):
            print(line, flush=True)
        for record in pool.imap_unordered(partial(search, cache=options.cache), missing):
            print(told(record), flush=True)
            if "failed" in record:
                failed = True
                continue
            records.append(record)
            if options.output is not None:
                with options.output.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return records, failed


def _identity(record: Record) -> str:
    named = [record[name] for name in ("task", "seed", "recipe", "settings")]
    return json.dumps(named, sort_keys=True)


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
