"""What the search costs beside the user's own training and validation: under 2 % of the demo.

Runs the demo whole, in this process, with a plugin whose functions are timed. Everything else
that happens after Python has imported its libraries is overhead: tracing and trying the groups,
new rates, checkpoints, snapshots, the journal, the printed lines. Batch norm adaptation is a
number of its own: it is forwards over the user's training data, and the config asks for it, by
num_bn_adaptation_samples. So is timing the best model in an inference runtime, once the search
has ended. The printed shares are of the wall time without that.
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

from torch import nn

from accaware import AccAwareConfig
from accaware.cli.commands.run import run
from accaware.pytorch.builtin.digits import Digits
from accaware.pytorch.compression.calibration import BatchNormAdapter
from accaware.pytorch.run import TorchRun
from accaware.pytorch.training import classification

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"
spent = {"create": 0.0, "train": 0.0, "validate": 0.0, "adapt": 0.0, "timing": 0.0}
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


def time_apart(of: type, method: str, what: str) -> None:
    original = getattr(of, method)

    def wrapped(*args: Any) -> Any:
        with timed(what):
            return original(*args)

    setattr(of, method, wrapped)


def main() -> None:
    AccAwareConfig.from_json(CONFIG)  # imports the schema's library
    time_apart(BatchNormAdapter, "prepare", "adapt")
    time_apart(TorchRun, "latency", "timing")
    with tempfile.TemporaryDirectory() as folder:
        # The class as this process has it, so that its clock is the one that is read.
        sys.modules["timed_digits"] = sys.modules[__name__]
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(CONFIG, output_dir=Path(folder) / "run", plugin="timed_digits:TimedDigits")
        wall = time.perf_counter() - began - spent["timing"]
    own = wall + spent["timing"] - sum(spent.values())
    both = own + spent["adapt"]
    print(
        f"search overhead: {own:.2f} s of {wall:.2f} s, {own / wall:.2%} (under 2 %); "
        f"{both / wall:.2%} with the batch norm adaptation that the config asks for, "
        f"{spent['adapt']:.2f} s; training {spent['train']:.2f} s, "
        f"validation {spent['validate']:.2f} s, the dense model {spent['create']:.2f} s; timing "
        f"the best model afterwards {spent['timing']:.2f} s"
    )


if __name__ == "__main__":
    main()
