"""What is printed of runs: a line for each, and a table for each task."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

COLUMNS = (
    ("rate", 6),
    ("FLOPs x", 8),
    ("from - to", 14),
    ("params x", 9),
    ("metric", 8),
    ("drop", 6),
    ("within", 7),
    ("epochs", 7),
    ("CPU s", 6),
    ("unseen drop", 12),
    ("beyond", 7),
    ("by > 1 SE", 10),
)


def told(record: Record) -> str:
    run = f"{record['task']}, seed {record['seed']}, {record['recipe']}"
    if "failed" in record:
        return f"{run}: FAILED\n{record['failed']}"
    seen, unseen = record["seen"], record["unseen"]
    verdict = "within budget" if record["within_budget"] else "NOT within budget"
    return (
        f"{run}: rate {record['rate']:.3f}, "
        f"FLOPs {record['flops']:.2f} x, {seen['metric']:.2f} ({seen['drop']:.2f} budgets, "
        f"unseen {unseen['drop']:.2f}), {verdict}, {record['epochs']} epochs, "
        f"{record['cpu_seconds']:.0f} s of CPU"
    )


def table(records: Iterable[Record], task: str, names: Sequence[str]) -> None:
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


def row(runs: list[Record]) -> list[str]:
    passed = [run for run in runs if run["within_budget"]]
    flops, parameters = (
        [run[name] if run["within_budget"] else 1.0 for run in runs]
        for name in ("flops", "parameters")
    )
    beyond = [run["unseen"] for run in passed if run["unseen"]["drop"] > 1]
    surely = [unseen for unseen in beyond if unseen["drop"] > 1 + unseen["standard_error"]]
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
        f"{mean(run['cpu_seconds'] for run in runs):.0f}",
        f"{mean(run['unseen']['drop'] for run in passed):.2f}" if passed else "-",
        f"{len(beyond)}/{len(passed)}",
        f"{len(surely)}/{len(passed)}",
    ]
