"""Faults on a Ray cluster: kill_and_resume.py with ``--launcher ray``.

The cluster has two nodes, on this machine. A search with two trials at a time is run on it, again
and again, and at a random moment the run's own process gets SIGKILL, or a worker, or a node with
all on it. A run whose own process was killed is resumed. Each has to end as the undisturbed one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

KINDS = ("driver", "worker", "node")
_A_FEW_TRIALS = 3.0
"""Seconds."""


def config() -> dict[str, Any]:
    """The demo's, on a model of a few filters, with a handful of rounds."""
    params = {
        "maximal_absolute_accuracy_degradation": 3.0,
        "strategy": "ramp",
        "parallel_trials": 2,
        "patience_epochs": 4,
        "minimal_compression_rate_step": 0.04,
    }
    return {
        "plugin": "accaware.pytorch.builtin.digits:Digits",
        "plugin_args": {"width": 4, "epochs": 4},
        "optimizer": {"type": "Adam", "base_lr": 0.003, "schedule_type": "cosine"},
        "device": "cpu",
        "engine": "ray",
        "accuracy_aware_training": {"mode": "adaptive_compression_level", "params": params},
        "compression": {
            "algorithm": "filter_pruning",
            "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 128}},
            "params": {"prune_first_conv": True, "prune_downsample_convs": True},
        },
    }


def start(file: Path, directory: Path, address: str) -> subprocess.Popen[bytes]:
    """A process that runs the search in ``directory``, or goes on with it.

    Not a fork: Ray's threads wouldn't survive that.
    """
    begun = (directory / "events.jsonl").exists()
    if begun and (directory / "config.json").exists():
        where = ["--resume", str(directory)]
    elif begun:
        where = [str(file), "--resume", str(directory)]
    else:
        where = [str(file), "--output-dir", str(directory)]
    command = [sys.executable, "-m", "accaware", "run", *where, "--ray-address", address]
    with (directory.parent / "output.txt").open("a") as log:
        return subprocess.Popen([*command, "--quiet"], stdout=log, stderr=log)


def left_behind(directory: Path) -> tuple[Any, dict[str, bytes]]:
    """What has to be the same: the result without its times, and the model's bytes."""
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"], result["latency"]
    state = torch.load(directory / "best" / "model.pt", weights_only=True)["state_dict"]
    return result, {name: tensor.numpy().tobytes() for name, tensor in state.items()}


class Nodes:
    """The cluster, which has its second node again whenever a run begins."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_health_check_period_ms"] = "300"  # noqa: SIM112 - Ray's own name
        os.environ["RAY_health_check_failure_threshold"] = "3"  # noqa: SIM112
        from ray.cluster_utils import Cluster

        memory = {"object_store_memory": 80 * 1024 * 1024}
        head = {"num_cpus": 1, "include_dashboard": False, **memory}
        self._memory = memory
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self._second: Any = None

    def complete(self) -> None:
        if self._second is None:
            self._second = self._cluster.add_node(num_cpus=1, **self._memory)

    def lose_one(self) -> None:
        if self._second is not None:
            self._cluster.remove_node(self._second, allow_graceful=False)
            self._second = None

    def close(self) -> None:
        self._cluster.shutdown()


def workers_of(directory: Path) -> list[int]:
    """The processes that run trials, as the journal has them."""
    try:
        lines = (directory / "events.jsonl").read_text().splitlines()
    except OSError:
        return []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    names = [event["worker"] for event in events if event["event"] == "trial_started"]
    return [int(name.rpartition("/")[2]) for name in names[-2:] if name]


def survives(
    file: Path, folder: Path, nodes: Nodes, expected: Any, duration: float, chance: random.Random
) -> tuple[str, bool]:
    """One fault, and what became of the run."""
    nodes.complete()
    directory, kind = folder / "run", chance.choice(KINDS)
    process = start(file, directory, nodes.address)
    moment = chance.uniform(0, duration)
    while kind == "worker" and not workers_of(directory) and process.poll() is None:
        time.sleep(0.1)  # until there is somebody; most of a short run is its start
        moment = chance.uniform(0, _A_FEW_TRIALS)
    time.sleep(moment)
    if kind == "driver":
        process.kill()
    elif kind == "node":
        nodes.lose_one()
    elif workers := workers_of(directory):
        try:
            os.kill(chance.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            kind = "nobody"
    else:
        kind = "nobody"
    code = process.wait()
    if code == -signal.SIGKILL:
        code = start(file, directory, nodes.address).wait()
    if code not in (0, 3):
        print((folder / "output.txt").read_text(), file=sys.stderr)
        return kind, False
    return kind, left_behind(directory) == expected


def faults(points: int, seed: int) -> int:
    """So many runs with a fault each."""
    chance = random.Random(seed)
    nodes = Nodes()
    try:
        with tempfile.TemporaryDirectory() as top:
            file = Path(top) / "config.json"
            file.write_text(json.dumps(config()))
            nodes.complete()
            (Path(top) / "peace").mkdir()
            began = time.perf_counter()
            code = start(file, Path(top) / "peace" / "run", nodes.address).wait()
            duration = time.perf_counter() - began
            if code not in (0, 3):
                print((Path(top) / "peace" / "output.txt").read_text(), file=sys.stderr)
                return 1
            expected = left_behind(Path(top) / "peace" / "run")
            same: Counter[str] = Counter()
            all_of: Counter[str] = Counter()
            for point in range(points):
                folder = Path(top) / str(point)
                folder.mkdir()
                kind, right = survives(file, folder, nodes, expected, duration, chance)
                all_of[kind] += 1
                same[kind] += right
            for kind, count in sorted(all_of.items()):
                print(f"{kind}: {same[kind]} of {count}")
            print(f"{same.total()} of {points} (a run takes {duration:.1f} s)", flush=True)
    finally:
        nodes.close()
    return int(same.total() < points)
