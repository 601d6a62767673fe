"""Kills a run at random moments and resumes it until it ends: it must end as if undisturbed.

    python scripts/kill_and_resume.py --points 100
    python scripts/kill_and_resume.py --points 100 --launcher torchrun

For each compression algorithm, the demo's search with small settings is run once in peace. Then,
for each kill point, a process of its own runs the same search and gets SIGKILL at a random
moment; so does every other one that resumes it. What the last of them leaves behind is compared:
result.json, times aside, and every tensor of the model to the bit.

Processes are forks of this one, which has imported all it needs, or most kills would hit imports.
With ``--launcher torchrun`` there are two for each run, with the environment that torchrun would
give them, and one of them gets the signal, or both. Half of the signals are SIGTERM then.
With ``--launcher ray`` see kill_on_ray.py.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import kill_on_ray
import torch
from torch.distributed import TCPStore

from accaware.cli.commands.run import run
from accaware.cli.errors import reported
from accaware.config.load import examine_text

NEEDED = (
    "accaware.cli.next_steps",
    "accaware.pytorch.run",
    "accaware.report.page.page",
    "accaware.rundir.run_record",
    "accaware.pytorch.builtin.digits",
    "sklearn.datasets",
    "sklearn.model_selection",
    "torch._dynamo",  # torch.optim imports it when the first optimizer is made
    "torch.utils.serialization.config",
)

HANG = 60.0
"""Seconds in which all processes end once one has got a signal."""

stores: list[TCPStore | None] = []

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


def start(file: Path, directory: Path, world: int) -> list[int]:
    """Processes that run the search in ``directory``, or go on with it; their ids."""
    deed = partial(run, file, output_dir=directory, auto_resume=True, quiet=True)
    # torchrun's own process has the store by which its processes meet.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if world > 1 else None
    processes = []
    for rank in range(world):
        process = os.fork()
        if not process:
            if store is not None:
                join_group(rank, world, store.port)
            end_after(deed, directory.parent / "output.txt")
        processes.append(process)
    stores[:] = [store]  # while they need it
    return processes


def join_group(rank: int, world: int, port: int) -> None:
    """Tell this process what torchrun would."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE="True",
        TORCHELASTIC_RESTART_COUNT="0",
    )


def end_after(deed: Callable[[], Any], output: Path) -> NoReturn:
    """End this process after ``deed``, whatever becomes of it."""
    code = 70
    try:
        with output.open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = int(reported(deed))
    finally:
        os._exit(code)


def ends_of(processes: list[int]) -> list[int]:
    """The exit statuses, negative for a signal; where one fails the others are asked to end."""
    codes: dict[int, int] = {}
    while len(codes) < len(processes):
        process, status = os.wait()
        codes[process] = os.waitstatus_to_exitcode(status)
        if codes[process]:
            for other in set(processes) - set(codes):
                os.kill(other, signal.SIGTERM)  # as torchrun does
    return [codes[process] for process in processes]


def left_behind(directory: Path) -> tuple[Any, dict[str, bytes]]:
    """What has to be the same: the result without its times, and the model's bytes."""
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"], result["latency"]
    state = torch.load(directory / "best" / "model.pt", weights_only=True)["state_dict"]
    return result, {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def survives(
    file: Path, folder: Path, expected: Any, duration: float, chance: random.Random, world: int
) -> bool:
    """One kill point, and perhaps more on the way to the end."""
    directory = folder / "run"
    kill = True
    while True:
        processes = start(file, directory, world)
        if kill:
            time.sleep(chance.uniform(0, duration))
            signums = [signal.SIGKILL] if world == 1 else [signal.SIGKILL, signal.SIGTERM]
            signum = chance.choice(signums)
            struck = chance.choice([processes[:1], processes[-1:], processes])
            for process in struck:
                os.kill(process, signum)
        began = time.monotonic()
        codes = ends_of(processes)
        if kill and time.monotonic() - began > HANG:
            print(f"ended {time.monotonic() - began:.0f} s after a signal", file=sys.stderr)
            return False
        if set(codes) <= {0} or set(codes) <= {3}:
            break
        # Without a signal nothing ends early; with one, those that it didn't reach do so as well.
        if not kill or not set(codes) <= {0, 1, 3, 143, -signal.SIGKILL, -signal.SIGTERM}:
            print((folder / "output.txt").read_text(), file=sys.stderr)
            return False
        kill = chance.random() < 0.5
    leftovers = sorted(path.name for path in directory.iterdir())
    wanted = [".lock", "best", "config.json", "events.jsonl", "manifest.json"]
    wanted += ["report.html", "result.json"]
    (result, tensors), (its_result, its_tensors) = left_behind(directory), expected
    apart = [key for key in its_result if result.get(key) != its_result[key]]
    apart += [name for name in its_tensors if tensors.get(name) != its_tensors[name]]
    if apart or leftovers != wanted:
        print(f"apart: {apart}; left: {leftovers}", file=sys.stderr)
    return (result, tensors) == expected and leftovers == wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100, help="kill points for each algorithm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", choices=("none", "torchrun", "ray"), default="none")
    options = parser.parse_args()
    world = 2 if options.launcher == "torchrun" else 1
    torch.set_num_threads(1)  # one that has threads can't be forked
    for module in NEEDED:
        importlib.import_module(module)
    examine_text("{}", "no config", Path(), ())  # reads the schemas
    gc.freeze()  # or each fork looks all of it over for garbage
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
            codes = ends_of(start(file, Path(top) / "peace" / "run", world))
            duration = time.perf_counter() - began
            if not set(codes) <= {0, 3}:
                print((Path(top) / "peace" / "output.txt").read_text(), file=sys.stderr)
                return 1
            expected = left_behind(Path(top) / "peace" / "run")
            same = 0
            for point in range(options.points):
                folder = Path(top) / str(point)
                folder.mkdir()
                same += survives(file, folder, expected, duration, chance, world)
            print(
                f"{algorithm}: {same} of {options.points} (a run takes {duration:.1f} s)",
                flush=True,
            )
            failed |= same < options.points
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
