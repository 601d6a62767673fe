"""Kills a run at random moments and resumes it until it ends: it must end as if undisturbed.

    python scripts/kill_and_resume.py --points 100

For each compression algorithm, the demo's search with small settings is run once in peace. Then,
for each kill point, a process of its own runs the same search and gets SIGKILL at a random
moment; so does every other one that resumes it. What the last of them leaves behind is compared:
result.json, times aside, and every tensor of the model to the bit.

With ``--launcher ray`` see kill_on_ray.py.

Processes are forks of this one, which has imported all it needs, or most kills would hit imports.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import kill_on_ray
import torch

from accaware.cli.commands.run import run
from accaware.cli.errors import reported

NEEDED = (
    "accaware.pytorch.run",
    "accaware.pytorch.builtin.digits",
    "sklearn.datasets",
    "sklearn.model_selection",
    "torch._dynamo",  # torch.optim imports it when the first optimizer is made
)

RUNTIMES = ("onnxruntime", "openvino")
"""Not to be found: or most kills would hit the export at the end, when the search is over."""

PRUNING = {
    "algorithm": "filter_pruning",
    "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 128}},
    "params": {
        "schedule": "exponential",
        "pruning_target": 0.3,
        "pruning_steps": 2,
        "prune_first_conv": True,
        "prune_downsample_convs": True,
    },
}
SECTIONS: dict[str, Any] = {
    "filter_pruning": PRUNING,
    "magnitude_sparsity": {
        "algorithm": "magnitude_sparsity",
        "params": {
            "sparsity_target": 0.5,
            "sparsity_target_epoch": 1,
            "sparsity_freeze_epoch": 2,
            "update_per_optimizer_step": True,
        },
    },
    "filter_pruning with quantization and knowledge_distillation": [
        PRUNING,
        {"algorithm": "quantization"},
        {"algorithm": "knowledge_distillation", "type": "softmax"},
    ],
}


def config(algorithm: str) -> dict[str, Any]:
    """The demo's, on a model of a few filters, with a handful of trials."""
    params = {
        "maximal_relative_accuracy_degradation": 10.0,
        "initial_training_phase_epochs": 2,
        "patience_epochs": 2,
        "initial_compression_rate_step": 0.2,
        "minimal_compression_rate_step": 0.1,
        "maximal_total_epochs": 7,
    }
    return {
        "plugin": "accaware.pytorch.builtin.digits:Digits",
        "plugin_args": {"width": 4, "epochs": 1},
        "optimizer": {"type": "Adam", "base_lr": 0.003, "schedule_type": "cosine"},
        "accuracy_aware_training": {"mode": "adaptive_compression_level", "params": params},
        "compression": SECTIONS[algorithm],
    }


def start(file: Path, directory: Path) -> int:
    """A process that runs the search in ``directory``, or goes on with it; its id."""
    begun = (directory / "events.jsonl").exists()
    deed = partial(
        run,
        config=None if begun and (directory / "config.json").exists() else file,
        resume=directory if begun else None,
        output_dir=None if begun else directory,
        quiet=True,
    )
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        with (directory.parent / "output.txt").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = int(reported(deed))
    finally:
        os._exit(code)


def end_of(process: int) -> int:
    """The exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def left_behind(directory: Path) -> tuple[Any, dict[str, bytes]]:
    """What has to be the same: the result without its times, and the model's bytes."""
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"], result["latency"]
    state = torch.load(directory / "best" / "model.pt", weights_only=True)["state_dict"]
    return result, {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def survives(
    file: Path, folder: Path, expected: Any, duration: float, chance: random.Random
) -> bool:
    """One kill point, and perhaps more on the way to the end."""
    directory = folder / "run"
    kill = True
    while True:
        process = start(file, directory)
        if kill:
            time.sleep(chance.uniform(0, duration))
            os.kill(process, signal.SIGKILL)
        code = end_of(process)
        if code not in (0, 3, -signal.SIGKILL):
            print((folder / "output.txt").read_text(), file=sys.stderr)
            return False
        if code != -signal.SIGKILL:
            break
        kill = chance.random() < 0.5
    leftovers = sorted(path.name for path in directory.iterdir())
    wanted = [".lock", "best", "config.json", "events.jsonl", "manifest.json", "result.json"]
    return left_behind(directory) == expected and leftovers == wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100, help="kill points for each algorithm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", choices=["none", "ray"], default="none")
    options = parser.parse_args()
    torch.set_num_threads(1)  # one that has threads can't be forked
    for module in NEEDED:
        importlib.import_module(module)
    for module in RUNTIMES:
        sys.modules[module] = None  # type: ignore[assignment]  # makes importing it fail
    if options.launcher == "ray":
        return kill_on_ray.faults(options.points, options.seed)
    failed = False
    for algorithm in SECTIONS:
        chance = random.Random(f"{options.seed} {algorithm}")
        with tempfile.TemporaryDirectory() as top:
            file = Path(top) / "config.json"
            file.write_text(json.dumps(config(algorithm)))
            (Path(top) / "peace").mkdir()
            began = time.perf_counter()
            code = end_of(start(file, Path(top) / "peace" / "run"))
            duration = time.perf_counter() - began
            if code not in (0, 3):
                print((Path(top) / "peace" / "output.txt").read_text(), file=sys.stderr)
                return 1
            expected = left_behind(Path(top) / "peace" / "run")
            same = 0
            for point in range(options.points):
                folder = Path(top) / str(point)
                folder.mkdir()
                same += survives(file, folder, expected, duration, chance)
            print(
                f"{algorithm}: {same} of {options.points} (a run takes {duration:.1f} s)",
                flush=True,
            )
            failed |= same < options.points
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
