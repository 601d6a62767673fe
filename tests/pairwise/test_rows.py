"""Every pair of what a run can be made of, in a run from its beginning to its end."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from typer.testing import CliRunner

from accaware import AccAwareConfig
from accaware.cli.app import app
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.builtin.classification.models.torchvision import TorchvisionModel
from accaware.pytorch.run import TorchRun
from tests.pairwise import script
from tests.pairwise.handed_over import check_exported, check_loads
from tests.pairwise.plugins import MADE
from tests.pairwise.table import APART, FACTORS, Apart, Row, allowed_pairs, name_of, pairs_of, rows
from tests.pairwise.task import BATCH, VALIDATION, part, settings, trained
from tests.pytorch.builtin.conftest import write_idx
from tests.runners.processes import run_script
from tests.runners.torch_case import digits

NUMBERED = list(enumerate(rows()))


def test_every_pair_is_covered_or_has_its_reason() -> None:
    covered = set().union(*map(pairs_of, rows()))
    assert covered == allowed_pairs()
    apart = set().union(*(entry.pairs for entry in APART))
    assert apart.isdisjoint(covered)
    every = sum(len(one) * len(other) for one in FACTORS.values() for other in FACTORS.values())
    assert 2 * len(covered | apart) == every - sum(len(one) ** 2 for one in FACTORS.values())
    assert all(entry.reason for entry in APART)


# What a row's files are --------------------------------------------------------------------------

PLUGINS = {
    "datasets": "from tests.pairwise.plugins import create_model, create_datasets\n",
    "own training": """\
from functools import partial

from tests.pairwise import plugins
from tests.pairwise.plugins import configure_optimizers, create_model, example_inputs

create_dataloaders = partial(plugins.loaders, {workers}, "{confirmation}")
train_epoch = partial(plugins.train_epoch, precision="{precision}")
validate = partial(plugins.validate, precision="{precision}")
""",
    "class": "from tests.pairwise.plugins import Augmenting\n",
}
TORCHVISION = {
    "model": "mobilenet_v2_32x32",
    "model_params": {
        "width_mult": 0.25,
        "inverted_residual_setting": [[1, 8, 1, 2], [1, 8, 1, 2]],
    },
    "dataset": "mnist",
    "num_classes": 10,
    "input_info": {"sample_size": [1, 3, 8, 8]},
    "batch_size": 16,
}
STEPS = {"torchvision": 4}
"""Optimizer steps in an epoch, where they are others than of the digits in whole."""


def written(row: Row, folder: Path) -> Path:
    """A row's config, and its plugin beside it."""
    config = settings(row)
    form = row["form"]
    if form == "torchvision":
        images, classes = digits()
        some = ((images[:128, 0] + 1) * 127).byte().numpy(), classes[:128].numpy()
        config |= TORCHVISION | {"dataset_dir": str(write_idx(folder / "data", "MNIST", some))}
        torch.save(mobilenet(config), folder / "weights.pth")
        config["weights"] = "weights.pth"
    else:
        text = PLUGINS[form].format_map(row)
        (folder / "mine.py").write_text(text)
        config |= {"plugin": "mine.py", "batch_size": BATCH}
    if form == "class":
        config["plugin"] += ":Augmenting"
        config["plugin_args"] = {"precision": row["precision"], "noise": 0.1}
    elif form != "own training" and row["precision"] == "mixed":
        config["mixed_precision"] = True
    if form != "own training":
        config["num_workers"] = int(row["workers"])
        config["optimizer"] = {"type": "Adam", "base_lr": 0.005}
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return file


WEIGHTS: dict[str, Tensor] = {}


def mobilenet(config: dict[str, Any]) -> dict[str, Tensor]:
    """Trained weights of torchvision's model: of one that knows nothing, nothing can be lost."""
    if not WEIGHTS:
        torch.manual_seed(0)
        task = ImageClassification(AccAwareConfig.from_dict(config))
        model, (data, _) = task.create_model(), task.create_datasets()
        images = torch.stack([data[at][0] for at in range(len(data))])
        classes = torch.tensor([data[at][1] for at in range(len(data))])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(15):
            for batch in torch.randperm(len(images)).split(16):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
                optimizer.step()
        WEIGHTS.update(model.state_dict())
    return WEIGHTS


# A run ---------------------------------------------------------------------------------------


def accaware(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


@pytest.fixture
def world(operators_read_once: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, a CPU that gains from bfloat16, models that are kept hold of, and no timing.

    To time its model, which is done last, a run would export it twice.
    """
    monkeypatch.setattr(TorchRun, "latency", lambda self, path: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = torch.cpu.get_capabilities()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**known, "avx512_bf16": True})
    real = TorchvisionModel.build

    def build(self: TorchvisionModel, *arguments: Any) -> nn.Module:
        MADE.append(real(self, *arguments))
        return MADE[-1]

    monkeypatch.setattr(TorchvisionModel, "build", build)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    MADE.clear()
    sys.modules.pop("mine", None)


@contextmanager
def ctrl_c_at(step: int) -> Iterator[list[int]]:
    """Comes after so many steps of all optimizers; yields the steps so far."""
    steps: list[int] = []

    def count(*_: Any) -> None:
        steps.append(len(steps) + 1)
        if len(steps) == step:
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


def by_the_command(row: Row, folder: Path) -> None:
    config, directory = written(row, folder), folder / "run"
    form, by_run = row["format"], row["exported"] == "by the run"
    more = ["--set", f'export=["{form}"]'] if by_run else []
    if row["course"] == "undisturbed":
        done = accaware("run", config, "--output-dir", directory, *more)
    else:
        peace = accaware("run", config, "--output-dir", folder / "peace")
        assert peace.exit_code in (0, 3), peace.output
        with ctrl_c_at(STEPS.get(row["form"], 10) + 2) as steps:
            done = accaware("run", config, "--output-dir", directory, *more)
        assert done.exit_code == 130, (len(steps), done.output)
        done = accaware("run", "--resume", directory)
        assert left_behind(directory) == left_behind(folder / "peace"), done.output
    assert done.exit_code in (0, 3), done.output
    model = MADE[-1]
    result = json.loads((directory / "result.json").read_text())
    assert result["best"] is not None
    assert sum(trial["epochs"] for trial in result["trials"]) > 0
    assert (result["confirmation"] is not None) == (row["confirmation"] == "kept back")
    if not by_run:
        done = accaware("export", directory, "--format", form, "--json")
        assert done.exit_code == 0, done.output
    fresh, images = fresh_model(row, directory)
    check_loads(directory / "best" / "model.pt", fresh, model, images)
    (file, *_) = sorted((directory / "exports").iterdir(), reverse=True)
    check_exported(file, form, model, images, rounds="quantization" in row["mix"])


def fresh_model(row: Row, directory: Path) -> tuple[nn.Module, Tensor]:
    """The dense model as a user makes it, and images to try it on."""
    if row["form"] != "torchvision":
        return trained(), part(VALIDATION).tensors[0]
    task = ImageClassification(AccAwareConfig.from_json(directory / "config.json"))
    _, data = task.create_datasets()
    return task.create_model(), torch.stack([data[at][0] for at in range(64)])


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=f"{number}-{row['mix']}-{row['form']}")
        for number, row in NUMBERED
        if row["processes"] == "1"
    ],
)
@pytest.mark.usefixtures("world")
def test_a_row(row: Row, tmp_path: Path) -> None:
    print(name_of(row))
    if row["form"] == "script":
        script.run(row, tmp_path)
    else:
        by_the_command(row, tmp_path)


@pytest.mark.skipif(
    not (distributed.is_available() and hasattr(os, "fork")), reason="there are no processes"
)
def test_the_rows_of_two_processes(tmp_path: Path) -> None:
    """In one go, as the processes take their time to begin."""
    run_script("tests.pairwise.script", "2", str(tmp_path))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    expected = [str(number) for number, row in NUMBERED if row["processes"] == "2"]
    assert len(expected) > 1
    assert list(first) == list(second) == expected
    failures = []
    for number, row in NUMBERED:
        told = first.get(str(number)), second.get(str(number))
        for rank, each in enumerate(told):
            if isinstance(each, str):
                failures.append(f"{name_of(row)}: process {rank}:\n{each}")
        if told[0] != told[1] and not failures:
            what = [key for key in told[0] if told[0][key] != told[1][key]]
            failures.append(f"{name_of(row)}: the processes differ in {what}")
    assert not failures, "\n".join(failures)


# What doesn't go together --------------------------------------------------------------------

REFUSED = [entry for entry in APART if entry.refusal is not None]


@pytest.mark.parametrize("entry", REFUSED, ids=[entry.reason for entry in REFUSED])
@pytest.mark.usefixtures("world")
def test_who_asks_for_what_is_apart_is_told(entry: Apart, tmp_path: Path) -> None:
    plain = {factor: values[0] for factor, values in FACTORS.items()}
    for pair in entry.pairs:
        row = {**plain, **dict(pair)}
        if row["mix"] == "quantization" and "mode" not in dict(pair):
            row["mode"] = "early_exit"
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        done = accaware("run", written(row, folder), "--output-dir", folder / "run")
        assert entry.refusal in " ".join(done.output.split()), (row, done.output)
