"""What a run hands over is what comes out of its file, or the run fails and can be gone on with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch import load_compressed
from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_status import RunState, standing
from tests.resume.test_command import accaware
from tests.resume.tiny_plugin import Tiny

TRAINING = {
    "mode": "early_exit",
    "params": {"maximal_absolute_accuracy_degradation": 100.0, "maximal_total_epochs": 3},
}
SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 1, "sparsity_freeze_epoch": 2},
}


@dataclass
class Scores:
    """Outputs that no container holds."""

    scores: Any


class Net(nn.Module):
    """The tiny network, and something around it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Tiny().create_model()

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


class Drifting(Net):
    """Depends on a number that training changes, and that no state dict has."""

    gain = 1.0

    def forward(self, x: Tensor) -> Any:
        if self.training:
            self.gain *= 1.01
        return self.net(x) * self.gain


class AnewEachTime(Net):
    """Its shift is drawn when it is made, and isn't saved by state dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.rand(4), persistent=False)

    def forward(self, x: Tensor) -> Any:
        return self.net(x) + self.shift


class AlwaysDropping(Net):
    def forward(self, x: Tensor) -> Any:
        return self.net(functional.dropout(x, 0.3, training=True))


class Counting(Net):
    """Gives something else at each call, whatever the seed is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.net(x) + self.calls


class Silent(Net):
    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        return scores if self.training or len(x) > 1 else Scores(scores[:0])


class Wrapping(Net):
    """Its outputs are in an object where it is called with a single sample."""

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        return scores if len(x) > 1 else Scores(scores)


def ran(
    model: type[nn.Module],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[int, RunDirectory]:
    monkeypatch.setattr(Tiny, "create_model", lambda self: model(), raising=True)
    (folder / "plugin.py").write_text("from tests.resume.tiny_plugin import Tiny\n")
    content = {
        "plugin": "plugin.py:Tiny",
        "batch_size": 16,
        "device": "cpu",
        "accuracy_aware_training": TRAINING,
        "compression": SPARSITY,
    }
    (folder / "config.json").write_text(json.dumps(content))
    code = accaware(config=folder / "config.json", output_dir=folder / "run")
    return code, RunDirectory(folder / "run", ())


@pytest.fixture(autouse=True)
def plain_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """``Net`` asks for the network that ``create_model`` made before it was replaced."""
    make = Tiny.create_model
    monkeypatch.setattr(Net, "__init__", lambda self: _init(self, make))


def _init(net: Net, make: Any) -> None:
    nn.Module.__init__(net)
    net.net = make(Tiny())


def test_what_the_file_does_not_hold_fails_the_run_which_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, directory = ran(Drifting, tmp_path, monkeypatch)
    error = capsys.readouterr().err
    assert code == 1
    assert "loaded again, computes something else than the run's model: outputs differ by" in error
    assert "its parameters and buffers are the same, so the forward depends on something" in error
    assert f"to go on: accaware run --resume {directory.path}" in error
    assert "Traceback" not in error
    assert not list(directory.path.glob("best/*"))
    assert not list(directory.path.glob("best/.*"))
    told = standing(directory)
    assert told.state is RunState.FAILED
    assert told.can_resume
    assert "computes something else" in str(told.message)
    monkeypatch.setattr(Tiny, "create_model", lambda self: Net())
    assert accaware(resume=directory.path) == 0
    assert directory.model.is_file()
    assert not directory.checkpoints.exists()


@pytest.mark.parametrize("model", [AnewEachTime, AlwaysDropping, Wrapping])
def test_what_comes_back_is_handed_over(
    model: type[nn.Module],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, directory = ran(model, tmp_path, monkeypatch)
    assert code == 0
    assert "could not" not in capsys.readouterr().err
    assert load_compressed(directory.model, model()) is not None


def test_of_a_model_that_never_repeats_itself_the_tensors_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, directory = ran(Counting, tmp_path, monkeypatch)
    assert code == 0
    assert "warning: the model gives something else at each call" in capsys.readouterr().err
    assert directory.model.is_file()


def test_a_model_that_gives_nothing_to_compare_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = count()
    monkeypatch.setattr(Tiny, "train_epoch", lambda *_: next(epochs))
    code, directory = ran(Silent, tmp_path, monkeypatch)
    assert code == 2
    assert next(epochs) == 0
    assert "gives no numbers for the example inputs" in capsys.readouterr().err
    assert not directory.path.exists()


def test_other_threads_are_told_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They share sums out, so that what is computed isn't the same to the bit."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        code, directory = ran(Drifting, tmp_path, monkeypatch)
        assert code == 1
        capsys.readouterr()
        torch.set_num_threads(2)
        monkeypatch.setattr(Tiny, "create_model", lambda self: Net())
        assert accaware(resume=directory.path) == 0
    finally:
        torch.set_num_threads(before)
    told = capsys.readouterr().err
    assert 'changed: the hardware: "' in told
    assert re.search(r', 1 thread" when the run began, ".*, 2 threads" now', told)


def test_another_processor_is_told_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, directory = ran(Drifting, tmp_path, monkeypatch)
    assert code == 1
    manifest = json.loads(directory.manifest.read_text())
    here = manifest["hardware"]
    assert here
    directory.manifest.write_text(json.dumps({**manifest, "hardware": "an abacus"}))
    capsys.readouterr()
    monkeypatch.setattr(Tiny, "create_model", lambda self: Net())
    assert accaware(resume=directory.path) == 0
    told = f'changed: the hardware: "an abacus" when the run began, {json.dumps(here)} now'
    assert told in capsys.readouterr().err
    assert json.loads(directory.manifest.read_text())["hardware"] == here
