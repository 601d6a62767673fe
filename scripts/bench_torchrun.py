"""An epoch by two processes against one by a single process, and what agreeing costs.

    python scripts/bench_torchrun.py

ResNet-18 for 32x32 inputs, batches of 64 over all processes, one thread a process, some filters
removed. The same search runs with one process and with two, on the same samples; their epochs'
times, as the journal has them, are with validation. What the first of two processes spends on
agreeing - answers, checkpoints, signals, one model after each epoch - is timed in a search of its
own, where both wait for each other before: that they do so anyhow, to average gradients, is no
cost of agreeing.

Run it where two cores are free: what else computes there counts against two processes alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_training_step import resnet18
from kill_and_resume import end_after, ends_of, join_group
from torch import Tensor, distributed, nn
from torch.distributed import TCPStore
from torch.utils.data import TensorDataset

from accaware.cli.commands.run import run
from accaware.pytorch.distributed.agreement import is_one_of_several
from accaware.pytorch.distributed.launch import TorchProcesses

EPOCHS = 4
"""The first warms up; the others count."""


class Stripes:
    """Ten classes of striped images in noise."""

    def __init__(self, width: int, training: int, validation: int) -> None:
        self._width = width
        self._sizes = training, validation

    def create_model(self) -> nn.Module:
        return resnet18(self._width)

    def create_datasets(self) -> tuple[TensorDataset, TensorDataset]:
        training, validation = self._sizes
        return stripes(training, 0), stripes(validation, 1)


def stripes(count: int, seed: int) -> TensorDataset:
    """(3, 32, 32) images; the stripes' angle is the class."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(10, (count,), generator=generator)
    angles = classes[:, None, None] * torch.pi / 10
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    waves: Tensor = (0.8 * (rows * angles.cos() + columns * angles.sin())).sin()
    noise = torch.randn(count, 3, 32, 32, generator=generator)
    return TensorDataset(waves[:, None] + 0.5 * noise, classes)


def config(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "plugin": f"{Path(__file__).resolve()}:Stripes",
        "plugin_args": {
            "width": options.width,
            "training": options.samples,
            "validation": options.samples,
        },
        "batch_size_total": 64,
        "device": "cpu",
        "optimizer": {"type": "SGD", "base_lr": 0.05, "optimizer_params": {"momentum": 0.9}},
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_absolute_accuracy_degradation": 1.0,
                "initial_training_phase_epochs": 0,
                "patience_epochs": EPOCHS,
                "initial_compression_rate_step": 0.3,
                "maximal_total_epochs": EPOCHS,
            },
        },
        "compression": {
            "algorithm": "filter_pruning",
            "params": {"prune_first_conv": True, "prune_downsample_convs": True},
        },
    }


def timed_run(config: Path, directory: Path) -> int:
    """The run, and in agreeing.json what asking the others took."""
    spent, reduce = 0.0, distributed.all_reduce

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal spent
            if is_one_of_several():
                reduce(torch.zeros(1))
            began = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                spent += time.perf_counter() - began

        return call

    for name in ("broadcast_object_list", "all_gather_object", "broadcast"):
        setattr(distributed, name, timed(getattr(distributed, name)))
    TorchProcesses.stopping = timed(TorchProcesses.stopping)  # type: ignore[method-assign]
    code = run(config, output_dir=directory, quiet=True)
    if os.environ.get("RANK", "0") == "0":
        (directory.parent / "agreeing.json").write_text(json.dumps(spent))
    return int(code)


def plain_run(config: Path, directory: Path) -> int:
    return int(run(config, output_dir=directory, quiet=True))


def search(
    file: Path, folder: Path, world: int, run: Callable[[Path, Path], int] = plain_run
) -> tuple[list[float], list[float]]:
    """The seconds and the metrics of the epochs."""
    folder.mkdir()
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = []
    for rank in range(world):
        process = os.fork()
        if not process:
            if world > 1:
                join_group(rank, world, store.port)
            end_after(partial(run, file, folder / "run"), folder / "output.txt")
        processes.append(process)
    if not set(ends_of(processes)) <= {0, 3}:
        sys.exit((folder / "output.txt").read_text())
    lines = (folder / "run" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    epochs = [event["epoch"] for event in events if event["event"] == "epoch_finished"]
    return [each["seconds"] for each in epochs], [each["metric"] for each in epochs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64, help="first filters; 64 in the original")
    parser.add_argument("--samples", type=int, default=640, help="for training and for validation")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in ("onnxruntime", "openvino"):  # nothing is timed in them
        sys.modules[module] = None  # type: ignore[assignment]
    for module in ("accaware.pytorch.run", "torch._dynamo"):  # once for all
        importlib.import_module(module)
    ratios, overheads, differences = [], [], []
    with tempfile.TemporaryDirectory() as top:
        file = Path(top) / "config.json"
        file.write_text(json.dumps(config(options)))
        for repeat in range(options.repeats):
            one, one_metrics = search(file, Path(top) / f"{repeat}-1", 1)
            two, two_metrics = search(file, Path(top) / f"{repeat}-2", 2)
            timed = Path(top) / f"{repeat}-timed"
            search(file, timed, 2, timed_run)
            ratios.append(statistics.median(two[1:]) / statistics.median(one[1:]))
            overheads.append(json.loads((timed / "agreeing.json").read_text()) / sum(two))
            differences.append(abs(one_metrics[-1] - two_metrics[-1]))
            medians = [statistics.median(seconds[1:]) for seconds in (one, two)]
            print(f"epoch: {medians[0]:.2f} s by one, {medians[1]:.2f} s by two", flush=True)
            print(f"metric: {one_metrics[-1]:.2f} by one, {two_metrics[-1]:.2f} by two", flush=True)
    print(f"two processes against one: {statistics.median(ratios):.3f} x (at most 0.60)")
    print(f"metrics differ by {max(differences):.2f} points (at most 0.3)")
    print(f"agreeing: {100 * statistics.median(overheads):.2f} % of the trial (at most 1 %)")


if __name__ == "__main__":
    main()
