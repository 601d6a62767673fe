"""``accaware init``: what it asks, and what it writes. Here torch can't be imported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from accaware.cli.app import app
from accaware.config.load import AccAwareConfig, examine_file
from tests.cli.conftest import Call
from tests.cli.test_app import WITHOUT_TORCH

Types = Callable[..., Result]


@pytest.fixture
def types(call: Call, monkeypatch: pytest.MonkeyPatch) -> Types:
    """``types("a word\\n", "init", ...)``: somebody at a terminal, who types that."""
    monkeypatch.setattr("accaware.cli.init.interview.somebody_is_there", lambda: True)

    def types(text: str, *words: str | Path) -> Result:
        return CliRunner().invoke(app, list(map(str, words)), input=text, catch_exceptions=False)

    return types


def written(folder: Path) -> dict[str, Any]:
    """The config, of which there is nothing to be told."""
    assert examine_file(folder / "config.json").diagnostics == ()
    return AccAwareConfig.from_json(folder / "config.json").to_dict()


def test_a_config_of_few_lines_and_a_plugin_with_blanks(call: Call, tmp_path: Path) -> None:
    done = call("init", "my folder", "--from", "plugin", cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    folder = tmp_path / "my folder"
    assert {file.name for file in folder.iterdir()} == {"config.json", "plugin.py"}
    text = (folder / "config.json").read_text()
    assert len(text.splitlines()) <= 30
    assert '"preset": "recommended"' in text
    assert "// what may be lost, in percent of the model's accuracy" in text
    config = written(folder)
    assert config["plugin"] == str(folder / "plugin.py")
    params = config["accuracy_aware_training"]["params"]
    assert params["maximal_relative_accuracy_degradation"] == 1.0
    assert params["strategy"] == "ramp"
    plugin = (folder / "plugin.py").read_text()
    functions = [node.name for node in ast.parse(plugin).body if hasattr(node, "name")]
    assert functions == ["create_model", "create_datasets"]
    assert plugin.count("# FILL IN:") == 2
    assert "accaware validate-config 'my folder/config.json' --check-plugin\n" in done.stdout
    assert "accaware run 'my folder/config.json'\n" in done.stdout


def test_options_change_what_is_written(call: Call, tmp_path: Path) -> None:
    options = ("--algorithm", "quantization", "--budget", "0.5")
    assert call("init", tmp_path, "--from", "plugin", *options).exit_code == 0
    config = written(tmp_path)
    assert config["accuracy_aware_training"]["mode"] == "early_exit"
    params = config["accuracy_aware_training"]["params"]
    assert params["maximal_relative_accuracy_degradation"] == 0.5
    names = [entry["algorithm"] for entry in config["compression"]]
    assert names == ["quantization", "knowledge_distillation"]


@pytest.mark.parametrize("there", ["config.json", "plugin.py"])
def test_nothing_is_overwritten(call: Call, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    done = call("init", tmp_path, "--from", "plugin")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path / there}: is there already, and nothing is")
    assert [file.name for file in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no terminal to ask at; name --from ("),
        (["--from", "torchvision"], "name --model and --weights and --dataset ("),
        (["--from", "nncf-config"], "name --from nncf-config FILE ("),
        (["--from", "torchvison"], "--from: 'torchvison' is none of them; did you mean torch"),
        (["--from", "plugin", "--budget", "all"], "--budget: 'all' is no number"),
        (["--from", "plugin", "--budget", "101"], "--budget: 101 is not from 0 to 100"),
        (["--from", "plugin", "--algorithm", "x"], "--algorithm: 'x' is none of them; it is one"),
        (["--from", "nncf-config", "no.json"], "--from nncf-config FILE: there is no file no.json"),
        (["--from", "plugin", "a", "b"], "a and b: name one folder"),
        (
            ["--from", "plugin", "--model", "resnet18", "--download"],
            "--model and --download: without a meaning with --from plugin",
        ),
        (
            ["--from", "nncf-config", "--algorithm", "quantization"],
            "--algorithm: without a meaning with --from nncf-config",
        ),
    ],
)
def test_without_a_terminal_one_message_says_what_is_missing_or_wrong(
    call: Call, tmp_path: Path, words: list[str], message: str
) -> None:
    done = call("init", *words, cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_answer_is_asked_again(types: Types, tmp_path: Path) -> None:
    typed = "plugn\nplugin\npruning\nmagnitude_sparsity\nsome\n-1\n2.5\n"
    done = types(typed, "init", tmp_path)
    assert done.exit_code == 0
    for why in (
        "'plugn' is none of them; did you mean plugin?",
        "'pruning' is none of them; did you mean filter_pruning?",
        "'some' is no number",
        "-1 is not from 0 to 100",
    ):
        assert f"  {why}\n" in done.stderr
    config = written(tmp_path)
    params = config["accuracy_aware_training"]["params"]
    assert params["maximal_relative_accuracy_degradation"] == 2.5
    assert config["compression"][0]["algorithm"] == "magnitude_sparsity"


def test_the_enter_key_alone_takes_what_is_recommended(types: Types, tmp_path: Path) -> None:
    assert types("plugin\n\n\n", "init", tmp_path / "asked").exit_code == 0
    assert types("", "init", tmp_path / "told", "--from", "plugin").exit_code == 130
    options = ("--algorithm", "filter_pruning", "--budget", "1")
    assert types("", "init", tmp_path / "told", "--from", "plugin", *options).exit_code == 0
    texts = [(tmp_path / name / "config.json").read_text() for name in ("asked", "told")]
    assert texts[0] == texts[1]


def test_where_the_input_ends_nothing_is_written(types: Types, tmp_path: Path) -> None:
    done = types("plugin\n", "init", tmp_path)
    assert done.exit_code == 130
    assert done.stderr.endswith("interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_at_a_real_terminal(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-c", WITHOUT_TORCH, "init", str(tmp_path)]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        os.write(controller, b"plugn\nplugin\n\n\n")
        shown = b""
        while b"to run it:" not in shown:
            shown += os.read(controller, 1024)
    os.close(controller)
    assert process.returncode == 0
    assert b"Where does the model come from" in shown
    assert b"did you mean plugin?" in shown
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "plugin.py"}


def test_a_config_of_nncfs_without_a_model_gets_a_plugin(call: Call, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"epochs": 3, "workers": 2, "compression": {"algorithm": "quantization"}}')
    done = call("init", "--from", "nncf-config", old, tmp_path / "new", "--budget", "3")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "dropped epochs: only NNCF's example scripts read it" in lines
    assert "changed workers: is read as num_workers" in lines
    config = written(tmp_path / "new")
    assert config["plugin"] == str(tmp_path / "new" / "plugin.py")
    assert config["num_workers"] == 2
    params = config["accuracy_aware_training"]["params"]
    assert params["maximal_relative_accuracy_degradation"] == 3.0
    assert (tmp_path / "new" / "plugin.py").is_file()


def test_a_config_of_nncfs_that_can_not_be_read_has_its_place_told(
    call: Call, tmp_path: Path
) -> None:
    old = tmp_path / "old.json"
    old.write_text('{\n"compression": oops\n}')
    done = call("init", tmp_path / "new", "--from", "nncf-config", old)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{old}:2:16: ")
    assert not (tmp_path / "new").exists()
