"""What the search costs beside the user's own training and validation: under 2 % of the demo.

Runs the demo whole, in this process, with a plugin whose functions are timed. Everything else
that happens after Python has imported its libraries is overhead: tracing and trying the groups,
new rates, batch norm adaptation, checkpoints, the journal, the printed lines.
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
from accaware.cli.run import RunOptions, run
from accaware.pytorch import classification
from accaware.pytorch.plugins.digits import Digits

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"
spent = {"create": 0.0, "train": 0.0, "validate": 0.0}
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


def main() -> None:
    assert accaware.pytorch.build, torch  # imported before the clock starts
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
    users = sum(spent.values())
    print(
        f"search overhead: {wall - users:.2f} s of {wall:.2f} s, {(wall - users) / wall:.2%} "
        f"(under 2 %); training {spent['train']:.2f} s, validation {spent['validate']:.2f} s, "
        f"the dense model {spent['create']:.2f} s"
    )


if __name__ == "__main__":
    main()
