"""``accaware run --resume``, on real training: what it goes on with and what it refuses."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from accaware.cli.commands.run import run
from accaware.cli.commands.status import status
from accaware.cli.errors import reported
from accaware.pytorch.training import classification
from accaware.rundir.lock import is_locked, locked
from tests.resume import tiny_plugin
from tests.resume.test_torch_runs import ADAPTIVE, EARLY_EXIT, PRUNING
from tests.resume.tiny_plugin import Tiny

Answer = Callable[[int], Any]
"""What a broken plugin's function gives in an epoch, or raises."""

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text("from tests.resume.tiny_plugin import Tiny\n")
    content = {
        "plugin": "plugin.py:Tiny",
        "batch_size": 16,
        "device": "cpu",
        "accuracy_aware_training": ADAPTIVE,
        "compression": PRUNING,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(content))
    return file


def accaware(**options: Any) -> int:
    return reported(lambda: run(**{"quiet": True, **options}))


def left_behind(directory: Path) -> Any:
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"], result["latency"]
    state = torch.load(directory / "best" / "model.pt", weights_only=True)["state_dict"]
    return result, {name: tensor.numpy().tobytes() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("peace")
    torch.set_num_threads(1)
    file = config.__wrapped__(folder)  # type: ignore[attr-defined]
    assert accaware(config=file, output_dir=folder / "run") == 0
    return left_behind(folder / "run")


def failing_in(epoch: int, act: Callable[[], Any]) -> Callable[..., Any]:
    """A train_epoch whose epoch of this number, counted from 1 by the plugin, is ``act``'s."""
    real = Tiny.train_epoch

    def train_epoch(self: Tiny, *arguments: Any) -> Any:
        loss = real(self, *arguments)
        return act() if self.epochs == epoch else loss

    return train_epoch


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def stopped_in(epoch: int, config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that was interrupted there."""
    directory = config.parent / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "train_epoch", failing_in(epoch, raising(KeyboardInterrupt())))
        assert accaware(config=config, output_dir=directory) == 130
    return directory


# What ends a run ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "message", "code"),
    [
        (raising(ValueError("bad batch")), "ValueError: bad batch", 1),
        (raising(torch.OutOfMemoryError("CUDA out of memory")), "CUDA out of memory", 1),
        (raising(MemoryError()), "MemoryError", 1),
        (lambda: "0.3", "train_epoch must return a loss or None; it returned '0.3' (str)", 2),
    ],
)
def test_a_training_that_fails(
    config: Path,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    act: Any,
    message: str,
    code: int,
) -> None:
    directory = config.parent / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "train_epoch", failing_in(4, act))
        assert accaware(config=config, output_dir=directory) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-2:] == [
        "in trial 1, epoch 4",
        f"to go on: accaware run --resume {directory}",
    ]
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


@pytest.mark.parametrize(
    ("value", "named"),
    [(None, "None (NoneType)"), ("97", "'97' (str)"), (torch.zeros(2), "a tensor of shape [2]")],
)
def test_a_validation_that_returns_no_number(
    config: Path,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: Any,
    named: str,
) -> None:
    directory = config.parent / "run"
    with monkeypatch.context() as patch:

        def validate(self: Tiny, model: Any, loader: Any) -> Any:
            return value if self.epochs == 3 else classification.validate(model, loader)

        patch.setattr(Tiny, "validate", validate, raising=False)
        assert accaware(config=config, output_dir=directory) == 2
    error = capsys.readouterr().err
    assert f"error: validate must return the metric, a number; it returned {named}" in error
    assert "in trial 1, epoch 3" in error
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


def test_a_nan_that_ends_the_run_can_be_mended(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"maximal_absolute_accuracy_degradation": 0.0, "maximal_total_epochs": 3}
    content = json.loads(config.read_text())
    content["accuracy_aware_training"] = {**EARLY_EXIT, "params": params}
    content["metric"] = {"name": "loss", "higher_is_better": False}
    config.write_text(json.dumps(content))

    def validate(self: Tiny, model: Any, loader: Any) -> float:
        return float(self.epochs)

    monkeypatch.setattr(Tiny, "validate", validate, raising=False)
    assert accaware(config=config, output_dir=config.parent / "peace") == 3
    directory = config.parent / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "train_epoch", failing_in(2, lambda: float("nan")))
        assert accaware(config=config, output_dir=directory) == 3
    assert f"to go on: accaware run --resume {directory}" in capsys.readouterr().err
    trial = json.loads((directory / "result.json").read_text())["trials"][0]
    assert trial["reason"] == "the loss is nan in epoch 2"
    assert accaware(resume=directory) == 3
    assert left_behind(directory) == left_behind(config.parent / "peace")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_batch_at_hand(
    config: Path,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    signum: signal.Signals,
    code: int,
) -> None:
    directory = config.parent / "run"
    seen: list[int] = []
    real = tiny_plugin.Noisy.__getitem__

    def getitem(self: Any, at: int) -> Any:
        journal = (directory / "events.jsonl").read_text()
        if '"event": "epoch_started", "trial": 1, "number": 4' in journal:
            if not seen:
                os.kill(os.getpid(), signum)
            seen.append(at)
        return real(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(tiny_plugin.Noisy, "__getitem__", getitem)
        assert accaware(config=config, output_dir=directory) == code
    assert len(seen) == 16  # the batch was finished, and no other one begun
    error = capfd.readouterr().err
    assert "stopping after the batch at hand; once more stops at once" in error
    assert error.splitlines()[-3:] == [
        "interrupted",
        "in trial 1, epoch 4",
        f"to go on: accaware run --resume {directory}",
    ]
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(tmp_path: Path, signum: signal.Signals) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from accaware.api.lifecycle.run_lifecycle import conduct
from accaware.cli.commands.run import exit_code
from accaware.cli.errors import reported
from accaware.cli.output import Output
from accaware.rundir.directory import RunDirectory
from tests.cli.scripted_run import starting
from tests.runners.fake import holds_up_to
def train(controller, model, epoch, **_):
    if epoch == 2:
        os.kill(os.getpid(), {int(signum)})
        os.kill(os.getpid(), {int(signum)})
        time.sleep(60)
directory = RunDirectory.create(Path("run"))
start = starting(holds_up_to(1), train_epoch_fn=train)
sys.exit(reported(lambda: exit_code(conduct(start, directory, "top1", Output()))))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == -signum
    assert status(tmp_path / "run", json=False) == 0


def test_an_interrupt_while_it_is_set_up_again_changes_nothing(
    config: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = stopped_in(5, config, monkeypatch)
    before = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(Tiny, "create_datasets", raising(KeyboardInterrupt()))
        patch.setattr(Tiny, "create_datasets", lambda self: raising(KeyboardInterrupt())())
        assert accaware(resume=directory) == 130
    after = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    events = directory / "events.jsonl"
    assert before.pop(events).startswith(after.pop(events))
    assert after == before
    assert accaware(resume=directory) == 0
    assert left_behind(directory) == expected


# What has changed meanwhile -----------------------------------------------------------------


def test_what_differs_is_said_and_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(3, config, monkeypatch)
    capsys.readouterr()
    plugin = config.parent / "plugin.py"
    plugin.write_text(plugin.read_text() + "# changed\n")
    real = importlib.metadata.version
    monkeypatch.setattr("accaware.api.lifecycle.resumption.version", lambda name: "9.9")
    content = json.loads(config.read_text())
    content["accuracy_aware_training"] = {
        **ADAPTIVE,
        "params": {**ADAPTIVE["params"], "maximal_total_epochs": 9, "patience_epochs": 1},
    }
    config.write_text(json.dumps(content))
    assert accaware(config=config, resume=directory, overrides=("batch_size=8",)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: {directory}: not what the run began with:"
    assert "  batch_size: 16 when the run began, 8 now" in lines
    place = "accuracy_aware_training.params.patience_epochs"
    assert f"  {place}: 2 when the run began, 1 now" in lines
    assert f'  the version of torch: "{real("torch")}" when the run began, "9.9" now' in lines
    assert any(line.startswith("  the plugin's source (SHA-256): ") for line in lines)
    assert not any("maximal_total_epochs" in line for line in lines)
    assert lines[-1] == "undo that, or go on all the same with --force"


def test_force_goes_on(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(3, config, monkeypatch)
    assert accaware(resume=directory, seed=5, force=True) == 0
    assert "changed: seed: 0 when the run began, 5 now" in capsys.readouterr().err
    assert json.loads((directory / "config.json").read_text())["seed"] == 5
    assert json.loads((directory / "manifest.json").read_text())["seed"] == 5


def test_more_epochs_and_patience_are_safe(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(6, config, monkeypatch)
    params = "accuracy_aware_training.params"
    more = (f"{params}.maximal_total_epochs=10", f"{params}.patience_epochs=3")
    assert accaware(resume=directory, overrides=more) == 0
    told = capsys.readouterr().err
    assert f"changed: {params}.maximal_total_epochs: 8 when the run began, 10 now" in told
    trials = json.loads((directory / "result.json").read_text())["trials"]
    assert [trial["epochs"] for trial in trials[:3]] == [2, 2, 2]
    assert 8 < sum(trial["epochs"] for trial in trials) <= 10


def test_another_model_is_refused_even_by_force(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(5, config, monkeypatch)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(
            Tiny,
            "create_model",
            lambda self: torch.nn.Sequential(
                torch.nn.Conv2d(1, 6, 3),
                torch.nn.Conv2d(6, 6, 3),
                torch.nn.Flatten(),
                torch.nn.Linear(96, 4),
            ),
        )
        assert accaware(resume=directory, force=True) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert accaware(resume=directory) == 0


# The directory ------------------------------------------------------------------------------


def test_a_finished_run_prints_its_result_again(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = config.parent / "run"
    assert accaware(config=config, output_dir=directory) == 0
    first = capsys.readouterr().out
    text = (directory / "result.json").read_text()
    assert accaware(resume=directory) == 0
    assert capsys.readouterr().out == first
    assert accaware(resume=directory, json=True) == 0
    assert capsys.readouterr().out == text
    assert (directory / "result.json").read_text() == text
    assert accaware(resume=directory, seed=3) == 2
    assert "the run has finished" in capsys.readouterr().err
    assert accaware(config=config, output_dir=directory) == 2
    assert f"go on with it by --resume {directory}" in capsys.readouterr().err


def test_a_damaged_snapshot_gives_way_to_the_one_before(
    config: Path, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(6, config, monkeypatch)
    last = directory / "checkpoints" / "snapshot-5.pt"
    last.write_bytes(last.read_bytes()[:-100])
    spare = config.parent / "spare"
    shutil.copytree(directory, spare)
    assert accaware(resume=directory) == 0
    assert "warning: snapshot-5 is damaged; going on from the one" in capsys.readouterr().err
    assert left_behind(directory) == expected

    before = spare / "checkpoints" / "snapshot-4.pt"
    whole = before.read_bytes()
    before.write_bytes(whole[:50] + bytes([whole[50] ^ 4]) + whole[51:])
    assert accaware(resume=spare) == 2
    assert "snapshot-5 and snapshot-4 in checkpoints can't be read" in capsys.readouterr().err
    before.write_bytes(whole)
    assert accaware(resume=spare) == 0
    assert left_behind(spare) == expected


def test_few_files_are_kept(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    folder = config.parent / "run" / "checkpoints"
    real = Tiny.train_epoch

    def counting(self: Tiny, *arguments: Any) -> float:
        nonlocal most
        most = max(most, len(list(folder.iterdir())))
        return real(self, *arguments)

    monkeypatch.setattr(Tiny, "train_epoch", counting)
    assert accaware(config=config, output_dir=config.parent / "run") == 0
    assert 3 < most <= 17
    assert not folder.exists()


def test_of_two_processes_the_second_is_refused(
    config: Path, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(4, config, monkeypatch)
    capsys.readouterr()
    code = (
        "import os, sys, time; from pathlib import Path; from accaware.rundir.lock import locked\n"
        "with locked(Path('run'), Path('run/.lock')):\n"
        "    child = os.fork()\n"  # as a data loader's workers do, and they outlive a kill
        "    if child: print('held', child, flush=True)\n"
        "    time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=config.parent, stdout=subprocess.PIPE, env=environment
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        child = int(holder.stdout.readline().split()[1])
        assert accaware(resume=directory) == 2
        assert f"{directory}: another process is running it" in capsys.readouterr().err
        assert status(directory, json=False) == 0
        assert capsys.readouterr().out.startswith(f"{directory}: running")
        holder.kill()
        holder.wait()
        try:
            assert not is_locked(directory / ".lock")
            assert accaware(resume=directory) == 0
        finally:
            os.kill(child, signal.SIGKILL)
    assert left_behind(directory) == expected
    with locked(directory, directory / ".lock"):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": Path("nowhere")}, "nowhere: holds no run"),
        ({"resume": Path("a"), "output_dir": Path("b")}, "leave out --output-dir"),
        ({"config": Path("c.json"), "force": True}, "--force means something with --resume only"),
    ],
)
def test_bad_usage(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accaware(**options) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_was_killed_before_it_began(
    config: Path, expected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = config.parent / "run"
    directory.mkdir()
    (directory / "events.jsonl").touch()
    assert accaware(resume=directory) == 2
    assert "the run was killed before it began; begin it with accaware" in capsys.readouterr().err
    assert accaware(config=config, resume=directory) == 0
    assert left_behind(directory) == expected


# Where it stands ----------------------------------------------------------------------------


def test_status(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = stopped_in(6, config, monkeypatch)
    capsys.readouterr()
    assert status(directory, json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{directory}: interrupted in trial 2: KeyboardInterrupt"
    assert lines[1] == "2 trials finished, 5 epochs"
    assert lines[-2].startswith("best so far: trial 1, rate ")
    assert lines[-1] == f"to go on: accaware run --resume {directory}"
    code = "import sys; sys.modules['torch'] = None; from accaware.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "status", str(directory), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    content = json.loads(done.stdout)
    assert content["state"] == "interrupted"
    assert content["trial"] == 2
    assert content["epochs"] == 5
    assert [trial["number"] for trial in content["trials"]] == [0, 1]
    assert content["best"]["number"] == 1
    assert content["resume"] == ["accaware", "run", "--resume", str(directory)]
    assert accaware(resume=directory) == 0
    capsys.readouterr()
    assert status(directory, json=False) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{directory}: finished: ")
    assert "--resume" not in shown
    with (directory / "events.jsonl").open("a") as file:
        file.write("garbage\n")
    assert reported(lambda: status(directory, json=False)) == 2
    assert "events.jsonl:" in capsys.readouterr().err
