"""What the search costs beside the user's own training and validation: under 2 % of the demo.

Runs the demo whole, in this process, with a plugin whose functions are timed. Everything else
that happens after Python has imported its libraries is overhead: tracing and trying the groups,
new rates, checkpoints, snapshots, the journal, the printed lines. Batch norm adaptation is a
number of its own: it is forwards over the user's training data, and the config asks for it, by
num_bn_adaptation_samples. The printed shares are of the same wall time.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import accaware.pytorch.build
from accaware.cli.run import RunOptions, load_config, run
from accaware.pytorch import classification
from accaware.pytorch.plugins.digits import Digits
from accaware.pytorch.preparations import BatchNormAdapter

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"
spent = {"create": 0.0, "train": 0.0, "validate": 0.0, "adapt": 0.0}
running: list[str] = []


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Adds to ``spent``; within another timed part it counts there."""
    running.append(what)
    began = time.perf_counter()
    try:
        yield
    finally:
        running.pop()
        if not running:
            spent[what] += time.perf_counter() - began


class TimedDigits(Digits):
    def create_model(self) -> nn.Module:
        with timed("create"):
            return super().create_model()

    def create_datasets(self) -> Any:
        with timed("create"):
            return super().create_datasets()

    def train_epoch(
        self, model: nn.Module, loader: Iterable[Any], optimizer: Any, compression: Any
    ) -> float:
        with timed("train"):
            return classification.train_epoch(model, loader, optimizer, compression)

    def validate(self, model: nn.Module, loader: Iterable[Any]) -> float:
        with timed("validate"):
            return classification.validate(model, loader)


def time_adaptation() -> None:
    prepare = BatchNormAdapter.prepare

    def timed_prepare(self: BatchNormAdapter, model: nn.Module, device: torch.device) -> None:
        with timed("adapt"):
            prepare(self, model, device)

    BatchNormAdapter.prepare = timed_prepare  # type: ignore[method-assign]


def main() -> None:
    assert accaware.pytorch.build, torch  # imported before the clock starts
    load_config(CONFIG, RunOptions())  # imports the schema's library
    time_adaptation()
    with tempfile.TemporaryDirectory() as folder:
        # The class as this process has it, so that its clock is the one that is read.
        sys.modules["timed_digits"] = sys.modules[__name__]
        options = RunOptions(
            config=CONFIG, output_dir=Path(folder) / "run", plugin="timed_digits:TimedDigits"
        )
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(options)
        wall = time.perf_counter() - began
    own = wall - sum(spent.values())
    both = own + spent["adapt"]
    print(
        f"search overhead: {own:.2f} s of {wall:.2f} s, {own / wall:.2%} (under 2 %); "
        f"{both / wall:.2%} with the batch norm adaptation that the config asks for, "
        f"{spent['adapt']:.2f} s; training {spent['train']:.2f} s, "
        f"validation {spent['validate']:.2f} s, the dense model {spent['create']:.2f} s"
    )


if __name__ == "__main__":
    main()
