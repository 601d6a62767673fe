"""A row's run by the command, in one process or in each of several."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from typer.testing import CliRunner

from accaware.cli.app import app
from accaware.pytorch.builtin.classification.models.torchvision import TorchvisionModel
from accaware.pytorch.run import TorchRun
from tests.pairwise.files import fresh_model
from tests.pairwise.handed_over import check_exported, check_loads
from tests.pairwise.plugins import MADE
from tests.pairwise.table import Row

Launch = Callable[[Row, Path], None]
"""Of a row in its folder, where its files are."""


def patch_world(patch: pytest.MonkeyPatch) -> None:
    """A CPU that gains from bfloat16, models that are kept hold of, and no timing.

    To time its model, which is done last, a run would export it twice.
    """
    patch.setattr(TorchRun, "latency", lambda self, path: None)
    patch.setattr(sys, "path", list(sys.path))
    patch.setattr(sys, "dont_write_bytecode", True)
    known = torch.cpu.get_capabilities()
    patch.setattr(torch.cpu, "get_capabilities", lambda: {**known, "avx512_bf16": True})
    real = TorchvisionModel.build

    def build(self: TorchvisionModel, *arguments: Any) -> nn.Module:
        MADE.append(real(self, *arguments))
        return MADE[-1]

    patch.setattr(TorchvisionModel, "build", build)


def launches(row: Row) -> Sequence[Launch]:
    """One after another, each in as many processes as the row has."""
    return [whole] if row["course"] == "undisturbed" else [in_peace, interrupted, gone_on_with]


def whole(row: Row, folder: Path) -> None:
    check(row, folder, run(row, folder, "run"))


def in_peace(row: Row, folder: Path) -> None:
    done = run(row, folder, "peace")
    assert done.exit_code in (0, 3), done.output


def interrupted(row: Row, folder: Path) -> None:
    with ctrl_c_at(steps_of_an_epoch(row) + 2 // int(row["processes"])) as steps:
        done = run(row, folder, "run")
    assert done.exit_code == 130, (len(steps), done.output)


def gone_on_with(row: Row, folder: Path) -> None:
    done = accaware("run", "--resume", folder / "run")
    if is_first():
        assert left_behind(folder / "run") == left_behind(folder / "peace"), done.output
    check(row, folder, done)


def check(row: Row, folder: Path, done: Any) -> None:
    """A run that has ended, and what it left behind."""
    assert done.exit_code in (0, 3), done.output
    if not is_first():
        return
    directory, form = folder / "run", row["format"]
    began = json.loads((directory / "manifest.json").read_text())
    assert began["processes"] == int(row["processes"])
    model = MADE[-1]
    result = json.loads((directory / "result.json").read_text())
    assert result["best"] is not None
    assert sum(trial["epochs"] for trial in result["trials"]) > 0
    assert (result["confirmation"] is not None) == (row["confirmation"] == "kept back")
    if row["exported"] == "by the command":
        done = accaware("export", directory, "--format", form, "--json")
        assert done.exit_code == 0, done.output
    fresh, images = fresh_model(row, directory)
    check_loads(directory / "best" / "model.pt", fresh, model, images)
    (file, *_) = sorted((directory / "exports").iterdir(), reverse=True)
    check_exported(file, form, model, images, rounds="quantization" in row["mix"])


def run(row: Row, folder: Path, name: str) -> Any:
    more = []
    if row["exported"] == "by the run" and name == "run":
        more = ["--set", f'export=["{row["format"]}"]']
    return accaware("run", folder / "config.json", "--output-dir", folder / name, *more)


def accaware(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


def is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def steps_of_an_epoch(row: Row) -> int:
    """Of each process: loaders of a plugin's own are as they are in each of several."""
    samples = {"torchvision": 64}.get(row["form"], 320)
    batch = {"torchvision": 16}.get(row["form"], 32)
    shares = 1 if row["form"] == "own training" else int(row["processes"])
    return samples // batch // shares


@contextmanager
def ctrl_c_at(step: int) -> Iterator[list[int]]:
    """Comes to the first process after so many steps of all optimizers; yields the steps so far."""
    steps: list[int] = []

    def count(*_: Any) -> None:
        steps.append(len(steps) + 1)
        if len(steps) == step and is_first():
            signal.raise_signal(signal.SIGINT)

    handle = register_optimizer_step_post_hook(count)
    try:
        yield steps
    finally:
        handle.remove()


def left_behind(directory: Path) -> Any:
    result = json.loads((directory / "result.json").read_text())
    for what in ("seconds", "latency", "exports"):
        result.pop(what, None)
    model = torch.load(directory / "best" / "model.pt", weights_only=True)
    return result, {name: each.numpy().tobytes() for name, each in model["state_dict"].items()}
