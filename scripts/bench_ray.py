"""Times a search on two of Ray's workers against the same search in this process alone.

    python scripts/bench_ray.py

Both are of the same config with two trials at a time, on the digits, with one thread a process.
Timed is the search, from its first trial to its end: the baseline, the start of the workers, which
make the model each, and the final export are no part of it. Printed are both times, their ratio,
the epochs that each executor trained (those that counted for nothing included), and whether
result.json is the same, times aside.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import accaware
from accaware.events import EpochFinished, SearchFinished, TrialStarted


def config(engine: str, options: argparse.Namespace) -> dict[str, Any]:
    """A budget that trials come close to, so that most of them take long."""
    return {
        "plugin": "accaware.pytorch.builtin.digits:Digits",
        "plugin_args": {"width": options.width, "epochs": 3},
        "device": "cpu",
        "optimizer": {"type": "SGD", "base_lr": options.lr},
        "engine": engine,
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_absolute_accuracy_degradation": options.budget,
                "strategy": "ramp",
                "parallel_trials": 2,
                "patience_epochs": options.patience,
                "minimal_compression_rate_step": 0.02,
            },
        },
        "compression": {
            "algorithm": "filter_pruning",
            "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 128}},
            "params": {"prune_first_conv": True, "prune_downsample_convs": True},
        },
    }


class Clock:
    """The search's time, and the epochs that were trained."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0
        self.epochs = 0

    def notify(self, event: Any) -> None:
        if isinstance(event, TrialStarted) and not self.began:
            self.began = time.perf_counter()
        elif isinstance(event, EpochFinished):
            self.epochs += 1
        elif isinstance(event, SearchFinished):
            self.seconds = time.perf_counter() - self.began


def searched(engine: str, folder: Path, options: argparse.Namespace) -> tuple[Clock, Any]:
    """A search, and its result.json without its times."""
    clock = Clock()
    accaware.run(config(engine, options), output_dir=folder, observers=[clock], progress=False)
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"], result["latency"]
    return clock, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--patience", type=int, default=20)
    parser.add_argument("--budget", type=float, default=0.6)
    parser.add_argument("--lr", type=float, default=0.003)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as top:
        for engine in ("in_process", "ray"):
            clock, result = searched(engine, Path(top) / engine, options)
            found[engine] = clock, result
            print(
                f"{engine}: {clock.seconds:.1f} s, {clock.epochs} epochs trained, of which "
                f"{result['epochs']} count, {len(result['trials'])} trials",
                flush=True,
            )
    (alone, first), (side_by_side, second) = found["in_process"], found["ray"]
    print(f"ratio: {side_by_side.seconds / alone.seconds:.2f}; same result: {first == second}")
    for trial in first["trials"]:
        told = "left" if trial.get("cancelled") else trial["within_budget"]
        print(f"  {trial['phase']} {trial['target_rate']:.3f}: {trial['epochs']} epochs, {told}")
    return int(first != second)


if __name__ == "__main__":
    sys.exit(main())
