"""A user's own model and training in a folder of their own: every way that a run can end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accaware.pytorch import load_compressed
from tests.e2e.conftest import Done, Run, command, environment, own_config

pytestmark = pytest.mark.usefixtures("no_inference_runtimes")

PRUNING = {"algorithm": "filter_pruning", "params": {"schedule": "baseline"}}


def fresh() -> nn.Module:
    """The plugin's architecture."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def saved_model(done: Done) -> nn.Module:
    return load_compressed(done.directory / "best" / "model.pt", fresh())


def test_a_plugin_that_nobody_prepared(run: Run, tmp_path: Path) -> None:
    done = run(own_config(tmp_path))
    assert done.code == 0, done.text
    result = done.result
    assert result["status"] == "within_budget"
    assert result["best"]["metric"] >= result["baseline"] - 0.05
    convolutions = [part for part in saved_model(done) if isinstance(part, nn.Conv2d)]
    filters = sum(len(part.weight) for part in convolutions)
    assert filters == result["model"]["filters"]["compressed"] < 28
    assert "WITHIN BUDGET" in done.out
    assert str(done.directory / "best" / "model.pt") in done.out
    assert f"accaware benchmark {done.directory}\n" in done.out


def test_a_metric_that_is_better_when_it_is_lower(run: Run, tmp_path: Path) -> None:
    config = own_config(
        tmp_path,
        metric={"name": "loss", "higher_is_better": False},
        plugin_args={"metric": "loss"},
    )
    done = run(config, ["accuracy_aware_training.params.maximal_absolute_accuracy_degradation=0.2"])
    result = done.result
    assert result["metric"] == {"name": "loss", "higher_is_better": False}
    assert result["minimal_tolerable"] == pytest.approx(result["baseline"] + 0.2)
    assert done.code == (0 if result["best"]["metric"] <= result["minimal_tolerable"] else 3)
    for trial in result["trials"]:
        assert trial["within_budget"] == (trial["metric"] <= result["minimal_tolerable"])


def test_the_final_model_is_confirmed_on_a_third_part(run: Run, tmp_path: Path) -> None:
    config = own_config(tmp_path, plugin_args={"metric": "samples", "confirms": True})
    params = "accuracy_aware_training.params"
    done = run(config, [f"{params}.confirmation={{}}", f"{params}.required_confidence=0.6"])
    result = done.result
    confirmation, best = result["confirmation"], result["best"]
    assert confirmation["samples"]["count"] == 400
    assert result["samples"]["count"] == 397
    tried = {one["trial"]: one for one in confirmation["tried"]}
    assert done.code == (0 if result["status"] == "within_budget" else 3)
    held = [one["trial"] for one in confirmation["tried"] if one["within_budget"]]
    assert held == ([best["trial"]] if done.code == 0 else [])
    its = tried[best["trial"]]
    assert its["standard_error"] > 0
    assert best["standard_error"] > 0
    table = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert f"{result['samples']['drop']:.4g} of 397 samples" in table["in samples"]
    shown = table["top1, confirmation"].split()
    assert f"{its['metric']:.4f}" in shown
    assert f"{confirmation['baseline']:.4f}" in shown
    assert f"{best['metric']:.4f}" in table["top1"].split()


def test_a_plugin_named_on_the_command_line_starts_at_the_working_directory(
    run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    config = own_config(folder, plugin="not_there.py")
    done = run(config, (), "--plugin", "elsewhere/mine.py:Mine", "--quiet")
    assert done.code == 0, done.text
    resolved = json.loads((done.directory / "config.json").read_text())
    assert resolved["plugin"] == f"{folder / 'mine.py'}:Mine"


def learned_ranking(**params: Any) -> dict[str, Any]:
    return {
        "algorithm": "filter_pruning",
        "params": {
            "schedule": "baseline",
            "pruning_target": 0.3,
            "prune_first_conv": True,
            "interlayer_ranking_type": "learned_ranking",
            **params,
        },
    }


def test_a_ranking_is_learned_saved_and_used_again(run: Run, tmp_path: Path) -> None:
    learning = learned_ranking(
        legr_params={"generations": 4, "train_steps": 2},
        save_ranking_coeffs_path="ranking.json",
    )
    first = run(own_config(tmp_path, compression=learning))
    assert first.code == 0, first.text
    assert "ranking: candidate 4/4, best top1 " in first.text
    layers = json.loads((tmp_path / "ranking.json").read_text())["layers"]
    assert list(layers) == ["0", "2"]
    resolved = json.loads((first.directory / "config.json").read_text())
    saved = resolved["compression"][0]["params"]["save_ranking_coeffs_path"]
    assert saved == str(tmp_path / "ranking.json")

    first.directory.rename(tmp_path / "first")
    loading = learned_ranking(load_ranking_coeffs_path="ranking.json")
    second = run(own_config(tmp_path, compression=loading), (), "--quiet")
    assert second.repeatable == replace(first, directory=tmp_path / "first").repeatable


# Exit code 1 -----------------------------------------------------------------------------------


def test_an_exception_in_the_users_training_keeps_the_best_so_far(run: Run, tmp_path: Path) -> None:
    done = run(own_config(tmp_path, plugin_args={"fails_in": 4}))
    assert done.code == 1
    assert "error: train_epoch failed" in done.err
    assert "ArithmeticError: the user's own reason" in done.err
    frames = [line.split(", in ")[-1] for line in done.err.splitlines() if "  File " in line]
    assert frames == ["train_epoch", "give_up"]
    assert "mine.py" in done.err
    assert "accaware" + os.sep + "pytorch" not in done.err
    result = done.result
    assert result["stop_reason"] == "failed"
    assert result["epochs"] == 3
    assert result["best"]["trial"] in (0, 1)
    saved_model(done)


def test_an_exception_in_the_first_epoch_leaves_a_result_without_a_model(
    run: Run, tmp_path: Path
) -> None:
    done = run(own_config(tmp_path, plugin_args={"fails_in": 1}))
    assert done.code == 1
    assert done.result["best"] is None
    assert not (done.directory / "best" / "model.pt").exists()
    assert "no model is saved" in done.text


# Exit code 2 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"plugin": "mien.py:Mine"}, (), "did you mean mine.py?"),
        ({"plugin": "mine.py:Mein"}, (), "has no class Mein; did you mean Mine?"),
        ({"plugin": "mine.py"}, (), 'its class Mine does: name it "'),
        ({"plugin_args": {"width": 3}}, (), "plugin_args {'width': 3} don't fit Mine("),
        ({"plugin": None}, (), "there is no plugin"),
        (
            {"compression": {**PRUNING, "ignored_scopes": ["stem"]}},
            (),
            "ignored_scopes: 'stem' matches no module",
        ),
        ({}, ("--set", "batch_size=0"), "batch_size"),
        (
            {
                "compression": {
                    "algorithm": "filter_pruning",
                    "params": {
                        "schedule": "baseline",
                        "interlayer_ranking_type": "learned_ranking",
                        "load_ranking_coeffs_path": "none.json",
                    },
                }
            },
            (),
            "none.json: can't be read: No such file or directory",
        ),
        ({}, ("--device", "mps"), "device 'mps' is not available"),
    ],
)
def test_a_mistake_leaves_nothing_behind(
    run: Run, tmp_path: Path, changes: dict[str, Any], options: tuple[str, ...], message: str
) -> None:
    if "mps" in options and torch.backends.mps.is_available():
        options = ("--device", "cuda")
        message = message.replace("mps", "cuda")
    config = own_config(tmp_path)
    content = {**json.loads(config.read_text()), **changes}
    config.write_text(json.dumps({key: value for key, value in content.items() if value}))
    done = run(config, (), *options)
    assert done.code == 2, done.text
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not done.directory.exists()


# Exit code 3 -----------------------------------------------------------------------------------


def test_nothing_within_budget_saves_the_best_effort_and_says_so(run: Run, tmp_path: Path) -> None:
    done = run(own_config(tmp_path, plugin_args={"metric": "hopeless"}), (), "--quiet")
    assert done.code == 3, done.text
    assert "BEST EFFORT, NOT WITHIN BUDGET" in done.text
    assert done.result["status"] == "not_within_budget"
    assert done.result["best"]["metric"] == pytest.approx(0.1)
    assert done.result["best"]["compression_rate"] > 0
    saved_model(done)


def test_json_has_standard_output_for_itself_whatever_the_plugin_prints(
    run: Run, tmp_path: Path
) -> None:
    config = own_config(tmp_path, plugin_args={"metric": "hopeless"})
    plugin = tmp_path / "mine.py"
    plugin.write_text('print("hello from the import")\n' + plugin.read_text())
    done = run(config, (), "--json")
    assert done.code == 3
    assert json.loads(done.out) == done.result
    assert "hello from the import" in done.err


# Exit code 130 ---------------------------------------------------------------------------------


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_ctrl_c_in_the_middle_keeps_the_best_so_far(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    config = own_config(tmp_path, plugin_args={"pause": 0.3})
    process = subprocess.Popen(
        [sys.executable, "-m", "accaware", *command(config, directory)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = directory / "events.jsonl"
    wait_for(lambda: journal.exists() and "trial_finished" in journal.read_text(), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    done = Done(process.returncode, out, err, directory)
    assert done.code == 130, done.text
    assert "interrupted" in done.err
    assert "Traceback" not in done.err
    assert done.result["stop_reason"] == "interrupted"
    assert done.result["best"]["trial"] == 0
    saved_model(done)
    left = {path.name for path in directory.iterdir()}
    named = {"config.json", "manifest.json", "result.json", "events.jsonl", "best"}
    assert left == {*named, "report.html", "checkpoints", ".lock"}
