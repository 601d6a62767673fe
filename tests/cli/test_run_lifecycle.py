"""A run leaves its files and its exit code, however it ends."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from accaware.api.lifecycle.run_lifecycle import Start, conduct
from accaware.cli.commands.run import exit_code
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.errors import CheckpointError, CompressionError, PluginContractError, PluginFailure
from accaware.rundir.directory import RunDirectory
from tests.cli.scripted_run import starting
from tests.runners.fake import FakeRunner, adaptive, holds_up_to

COARSE = adaptive(minimal_compression_rate_step=0.1)


class Ran:
    """A conducted run: its exit code and its directory."""

    def __init__(self, top: Path, start: Start, **output: bool) -> None:
        directory = RunDirectory.create(top / "run")
        self.path = directory.path

        def action() -> ExitCode:
            voice = Output(**output)
            with voice.guarding_stdout(), directory.provisional():
                return exit_code(conduct(start, directory, "top1", voice))

        self.code = reported(action)

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return result

    @property
    def files(self) -> set[str]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)) for path in files}

    @property
    def model(self) -> float:
        return float((self.path / "best" / "model.pt").read_text())


def failing_above(rate: float, error: BaseException) -> Any:
    def train(controller: Any, model: Any, **_: Any) -> None:
        if model.rate > rate:
            raise error

    return train


def test_within_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(tmp_path, starting(holds_up_to(0.65), COARSE))
    assert ran.code == 0
    assert ran.files == {"events.jsonl", "result.json", "best/model.pt"}
    assert not (ran.path / "checkpoints").exists()
    assert ran.model == ran.result["best"]["compression_rate"] == 0.6
    assert ran.result["status"] == "within_budget"
    assert ran.result["model"]["filters"] == {"dense": 100, "compressed": 40}
    shown = capsys.readouterr()
    assert "WITHIN BUDGET" in shown.out.splitlines()
    assert shown.out.splitlines()[-1] == f"Model: {ran.path / 'best' / 'model.pt'}"
    assert shown.err == ""


def test_a_best_effort_is_saved_and_has_its_own_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = adaptive(minimal_compression_rate=0.3)
    ran = Ran(tmp_path, starting(lambda rate, age: 1 - rate, params))
    assert ran.code == 3
    assert ran.model == 0.3
    assert ran.result["status"] == "not_within_budget"
    assert "BEST EFFORT, NOT WITHIN BUDGET" in capsys.readouterr().out


def test_nothing_judged_saves_no_model(tmp_path: Path) -> None:
    ran = Ran(tmp_path, starting(lambda rate, age: math.nan))
    assert ran.code == 3
    assert ran.files == {"events.jsonl", "result.json"}
    assert ran.result["model"] is None


@pytest.mark.parametrize(
    ("error", "code", "stop_reason", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
        (PluginFailure("train_epoch", ValueError("bad")), 1, "failed", "error: train_epoch failed"),
        (SystemExit(0), 1, "failed", "error: the plugin called sys.exit(0)"),
        (CheckpointError("trial-0 doesn't fit"), 1, "failed", "error: trial-0 doesn't fit"),
        (PluginContractError("loss must return"), 2, "failed", "error: loss must return"),
    ],
)
def test_a_run_that_is_cut_off_keeps_what_it_earned(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    stop_reason: str,
    message: str,
) -> None:
    train = failing_above(0.55, error)
    ran = Ran(tmp_path, starting(holds_up_to(1), COARSE, train_epoch_fn=train))
    assert ran.code == code
    assert ran.files >= {"events.jsonl", "result.json", "best/model.pt"}
    assert ran.model == 0.5
    assert ran.result["status"] == "within_budget"
    assert ran.result["stop_reason"] == stop_reason
    assert len(ran.result["trials"]) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0] == message
    place, hint = shown.err.splitlines()[-2:]
    assert place == "in trial 1, epoch 2"
    assert hint == f"to go on: accaware run --resume {ran.path}"
    assert f"Model: {ran.path / 'best' / 'model.pt'}" in shown.out


def test_a_bug_of_ours_keeps_what_was_earned_and_its_traceback(tmp_path: Path) -> None:
    bug = ZeroDivisionError("ours")
    train = failing_above(0.55, bug)
    with pytest.raises(ZeroDivisionError) as raised:
        Ran(tmp_path, starting(holds_up_to(1), COARSE, train_epoch_fn=train))
    assert raised.value is bug
    assert bug.__notes__ == [
        "in trial 1, epoch 2",
        f"to go on: accaware run --resume {tmp_path / 'run'}",
        "This is a bug in accaware. Please report it, with these lines.",
    ]
    assert (tmp_path / "run" / "best" / "model.pt").read_text() == "0.5"


def test_an_interrupt_before_any_trial_was_judged_says_so_and_saves_no_model(
    tmp_path: Path,
) -> None:
    train = failing_above(0, KeyboardInterrupt())
    ran = Ran(tmp_path, starting(holds_up_to(1), train_epoch_fn=train))
    assert ran.code == 130
    assert not (ran.path / "best").exists()
    assert ran.result["best"] is None
    assert ran.result["stop_reason"] == "interrupted"


def test_a_model_that_can_not_be_saved_does_not_hide_the_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sabotage(controller: Any, model: Any, **_: Any) -> None:
        if model.rate > 0.55:
            (tmp_path / "run" / "best" / "model.pt").mkdir(parents=True)
            raise KeyboardInterrupt

    ran = Ran(tmp_path, starting(holds_up_to(1), COARSE, train_epoch_fn=sabotage))
    assert ran.code == 130
    assert ran.result["best"]["compression_rate"] == 0.5
    assert ran.result["model"] is None
    shown = capsys.readouterr()
    assert "warning: the best model so far could not be saved:" in shown.err
    assert "Model:" not in shown.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (PluginFailure("validate", ValueError("bad")), 1),
        (CompressionError("nothing to prune"), 2),
    ],
)
@pytest.mark.parametrize("when", ["setting up", "measuring the baseline"])
def test_what_ends_before_the_search_leaves_nothing_behind(
    tmp_path: Path, when: str, error: BaseException, code: int
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    start = fail if when == "setting up" else starting(holds_up_to(1), baseline=fail)
    assert Ran(tmp_path, start).code == code
    assert list(tmp_path.iterdir()) == []


def test_layers_left_out_are_shown_and_journaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = [("head", "its outputs are the model's")]
    ran = Ran(tmp_path, starting(holds_up_to(1), left_out=left_out))
    lines = map(json.loads, (ran.path / "events.jsonl").read_text().splitlines())
    started = next(line for line in lines if line["event"] == "run_started")
    assert started["left_out"] == [{"layer": "head", "reason": "its outputs are the model's"}]
    assert "Not compressed: 1 layer\n" in capsys.readouterr().out


def test_json_is_alone_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chatty(*_: Any, **__: Any) -> None:
        print("the plugin prints")

    ran = Ran(tmp_path, starting(holds_up_to(0.65), COARSE, train_epoch_fn=chatty), json=True)
    shown = capsys.readouterr()
    assert shown.out == (ran.path / "result.json").read_text()
    assert json.loads(shown.out)["status"] == "within_budget"
    assert "the plugin prints" in shown.err
    assert "trial 0: target" in shown.err
    assert "WITHIN BUDGET" in shown.err


def test_json_of_a_run_that_was_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = failing_above(0.55, KeyboardInterrupt())
    ran = Ran(tmp_path, starting(holds_up_to(1), COARSE, train_epoch_fn=train), json=True)
    assert capsys.readouterr().out == (ran.path / "result.json").read_text()


def test_quiet_leaves_the_final_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ran(tmp_path, starting(holds_up_to(0.65), COARSE, left_out=[("head", "why")]), quiet=True)
    shown = capsys.readouterr()
    assert shown.out.startswith("\nWITHIN BUDGET\n")
    assert "trial 0" not in shown.out
    assert "head" not in shown.out
    assert shown.err == ""


def test_quiet_json_says_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(tmp_path, starting(holds_up_to(0.65), COARSE), json=True, quiet=True)
    shown = capsys.readouterr()
    assert shown.out == (ran.path / "result.json").read_text()
    assert shown.err == ""


def test_what_the_search_warns_of_is_told_and_kept_even_where_all_else_is_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([("loss() is missing",)])
    monkeypatch.setattr(FakeRunner, "warnings", lambda self: next(told, ()))
    ran = Ran(tmp_path, starting(holds_up_to(0.65), COARSE), quiet=True)
    assert ran.code == 0
    assert capsys.readouterr().err == "warning: loss() is missing\n"
    lines = [json.loads(line) for line in (ran.path / "events.jsonl").read_text().splitlines()]
    (warned,) = [line for line in lines if line["event"] == "warned"]
    assert warned["message"] == "loss() is missing"
