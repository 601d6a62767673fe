"""Whole runs through the command line, on a digits model small enough for a few seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from filelock import FileLock
from typer.testing import CliRunner

from accaware.cli.app import app

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SMALL = (
    "plugin_args.width=8",
    "plugin_args.epochs=3",
    "batch_size=128",
    "device=cpu",
)
SHORT = (
    *SMALL,
    "accuracy_aware_training.params.maximal_relative_accuracy_degradation=10",
    "accuracy_aware_training.params.initial_training_phase_epochs=3",
    "accuracy_aware_training.params.patience_epochs=2",
    "accuracy_aware_training.params.maximal_total_epochs=6",
)


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str
    directory: Path

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.directory / "result.json").read_text())
        return result

    @property
    def repeatable(self) -> dict[str, Any]:
        """The result without what differs from time to time."""
        times = ("seconds", "latency")
        return {key: value for key, value in self.result.items() if key not in times}

    @property
    def text(self) -> str:
        """All that was said, with the table's line breaks taken out."""
        return " ".join((self.out + self.err).split())


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def command(
    config: Path, directory: Path, settings: Sequence[str] = (), *options: str
) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["run", str(config), "--output-dir", str(directory), *sets, *options]


def in_a_process(
    config: Path, directory: Path, settings: Sequence[str] = (), *options: str
) -> Done:
    python = (sys.executable, "-W", "error", "-m", "accaware")
    done = subprocess.run(
        [*python, *command(config, directory, settings, *options)],
        cwd=directory.parent,
        env=environment(),
        capture_output=True,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr, directory)


@pytest.fixture(autouse=True, scope="session")
def quickly_exported(operators_read_once: None) -> None:
    """For all runs that export or time their model."""


Accaware = Callable[..., Result]


@pytest.fixture
def accaware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accaware]:
    """Any command in this process: ``accaware("export", directory, "--json")``."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def call(*words: str | Path) -> Result:
        return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)

    yield call
    torch.set_num_threads(threads)
    for name in set(sys.modules) - modules:
        if name == "mine" or name.startswith("accaware_plugin_"):
            del sys.modules[name]


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, accaware: Accaware) -> Run:
    """``accaware run`` in this process: ``run(config, settings, *options)``."""

    def run(config: Path, settings: Sequence[str] = (), *options: str) -> Done:
        directory = tmp_path / "run"
        done = accaware(*command(config, directory, settings, *options))
        return Done(done.exit_code, done.stdout, done.stderr, directory)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The demo, made small, with its JSON on standard output; one for all workers of xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    folder.mkdir(exist_ok=True)
    told = folder / "told.json"
    with FileLock(folder / "lock"):
        if not told.exists():
            config = CONFIGS / "digits_filter_pruning.json"
            settings = (*SHORT, "compression.params.pruning_steps=2")
            done = in_a_process(config, folder / "run", settings, "--json")
            told.write_text(json.dumps([done.code, done.out, done.err]))
    return Done(*json.loads(told.read_text()), folder / "run")


OWN_PLUGIN = """
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import accaware


class Mine:
    \"\"\"A user's own: no batch norm, data loaders, and training written out.\"\"\"

    def __init__(self, fails_in=None, pause=0.0, metric="top1", confirms=False):
        self.fails_in, self.pause, self.metric, self.epoch = fails_in, pause, metric, 0
        images, classes = load_digits(return_X_y=True)
        images = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        classes = torch.as_tensor(classes)
        self.parts = [
            TensorDataset(images[where], classes[where])
            for where in (slice(0, 800), slice(1400, None), slice(1000, 1400))
        ]
        self.confirms = confirms

    def create_model(self):
        model = nn.Sequential(
            nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(8):
            self.one_pass(model, DataLoader(self.parts[0], 64, shuffle=True), optimizer)
        return model

    def create_dataloaders(self):
        train, validation, kept = self.parts
        loaders = DataLoader(train, 64, shuffle=True), DataLoader(validation, 200)
        return (*loaders, DataLoader(kept, 200)) if self.confirms else loaders

    def one_pass(self, model, loader, optimizer, compression=None):
        model.train()
        for images, classes in loader:
            loss = nn.functional.cross_entropy(model(images), classes)
            if compression is not None:
                loss = loss + compression.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if compression is not None:
                compression.step()
        return loss

    def train_epoch(self, model, train_loader, optimizer, compression):
        self.epoch += 1
        if self.epoch == self.fails_in:
            self.give_up()
        time.sleep(self.pause)
        return self.one_pass(model, train_loader, optimizer, compression)

    def give_up(self):
        raise ArithmeticError("the user's own reason")

    def validate(self, model, validation_loader):
        model.eval()
        with torch.no_grad():
            found = [(model(images), classes) for images, classes in validation_loader]
        outputs, classes = (torch.cat(part) for part in zip(*found))
        if self.metric == "loss":
            return nn.functional.cross_entropy(outputs, classes)
        if self.metric == "hopeless":
            self.seen = getattr(self, "seen", 0) + 1
            return 1.0 if self.seen == 1 else 0.1
        right = (outputs.argmax(1) == classes).float()
        if self.metric == "samples":
            return accaware.Metric(right.mean(), per_sample=right)
        return right.mean()

    def configure_optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)

    def example_inputs(self):
        return torch.zeros(1, 1, 8, 8)
"""


def own_config(folder: Path, **changes: Any) -> Path:
    """A config beside a plugin that nobody prepared; ``changes`` are of its top-level keys."""
    (folder / "mine.py").write_text(OWN_PLUGIN)
    config = {
        "plugin": "mine.py:Mine",
        "device": "cpu",
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_absolute_accuracy_degradation": 0.05,
                "initial_training_phase_epochs": 2,
                "patience_epochs": 2,
                "maximal_total_epochs": 7,
            },
        },
        "compression": {
            "algorithm": "filter_pruning",
            "params": {
                "schedule": "baseline",
                "pruning_target": 0.3,
                "prune_first_conv": True,
            },
        },
        **changes,
    }
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return file
