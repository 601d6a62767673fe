"""The command as its user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import accaware
from tests.cli.conftest import Call

GOOD: dict[str, Any] = {
    "plugin": "plugin.py",
    "accuracy_aware_training": {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_relative_accuracy_degradation": 1.0,
            "initial_training_phase_epochs": 2,
            "patience_epochs": 1,
        },
    },
    "compression": {
        "algorithm": "filter_pruning",
        "params": {"schedule": "baseline", "pruning_target": 0.1},
    },
}

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from accaware.cli.app import main; main()"


def in_a_process(
    *arguments: str | Path, cwd: Path | None = None, code: str = WITHOUT_TORCH
) -> subprocess.CompletedProcess[str]:
    """accaware in a process of its own, where torch can't be imported."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def config(path: Path, **changes: Any) -> Path:
    """A good config at ``path``, some of its keys changed; None takes a key away."""
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    path.write_text(json.dumps(content, indent=2))
    return path


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_commands_and_examples(option: str) -> None:
    done = in_a_process(option)
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ("run", "validate-config", "--version", "accaware run config.json --device cuda"):
        assert word in done.stdout
    assert "--install-completion" in done.stdout
    assert "--show-completion" in done.stdout


def test_help_of_run_tells_of_options_and_exit_codes(call: Call) -> None:
    done = call("run", "--help")
    assert done.exit_code == 0
    for word in (
        "--output-dir DIR",
        "--plugin PLUGIN",
        "--device",
        "--seed N",
        "--track",
        "--set KEY=VALUE",
        "--json",
        "--quiet",
        "    3    nothing is within budget; the best effort is saved\n",
    ):
        assert word in done.stdout


def test_version() -> None:
    done = in_a_process("--version")
    assert (done.returncode, done.stdout) == (0, f"accaware {accaware.__version__}\n")


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "accaware", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == in_a_process("--version").stdout
    help_text = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True)
    assert help_text.stdout == in_a_process("--help").stdout


def test_help_starts_without_what_is_slow() -> None:
    code = (
        "import sys\n"
        "from accaware.cli.app import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'rich', 'jsonschema') if m in sys.modules])"
    )
    assert in_a_process("--help", code=code).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument"),
        (["run", "c.json", "--device", "tpu"], "'tpu' is not one of 'auto', 'cpu', 'cuda', 'mps'"),
        (["run", "c.json", "--seed", "x"], "--seed"),
        (["run", "c.json", "--wrong"], "No such option"),
        (["wrong"], "No such command 'wrong'"),
        (["validate-config"], "Missing argument"),
    ],
)
def test_bad_usage_is_exit_code_2(call: Call, arguments: list[str], message: str) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_validate_config_accepts_good_files(call: Call, tmp_path: Path) -> None:
    one, two = config(tmp_path / "one.json"), config(tmp_path / "two.json", plugin=None)
    done = call("validate-config", one, two)
    assert done.stdout == f"{one}: ok\n{two}: ok\n"
    assert (done.exit_code, done.stderr) == (0, "")


def test_validate_config_lists_every_fault_of_every_file(tmp_path: Path) -> None:
    good = config(tmp_path / "good.json")
    bad = config(tmp_path / "bad.json", seed="one", batch_size=0, colour="red")
    missing = tmp_path / "missing.json"
    done = in_a_process("validate-config", bad, missing, good)
    assert (done.returncode, done.stderr) == (2, "")
    lines = done.stdout.splitlines()
    text = bad.read_text().splitlines()
    for key in ("seed", "batch_size", "colour"):
        number = next(at for at, line in enumerate(text, 1) if f'"{key}"' in line)
        assert sum(line.startswith(f"{bad}:{number}:") and key in line for line in lines) == 1
    assert any(line.startswith(f"{missing}: ") for line in lines)
    assert lines[-1] == f"{good}: ok"
    assert len(lines) == 5


def test_a_warning_is_no_failure(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", target_device="CPU")
    done = call("validate-config", file)
    assert done.exit_code == 0
    assert ": warning: " in done.stdout
    assert done.stdout.endswith(f"{file}: ok\n")


def test_run_with_a_bad_config_lists_its_faults_and_leaves_nothing(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", seed="one", batch_size=0)
    done = in_a_process("run", file, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith(f"{file}:")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_run_with_a_bad_setting_names_it(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    done = call("run", file, "--set", "batch_size=none", "--set", "nonsense", cwd=tmp_path)
    assert done.exit_code == 2
    assert "batch_size" in done.stderr
    assert "nonsense" in done.stderr


def test_run_without_a_plugin_says_what_to_add(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", plugin=None)
    done = call("run", file, cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f'error: {file}: there is no plugin: add "plugin": "your_file.py" to it, '
        "or name one with --plugin; or name one of torchvision's models, as in "
        '"model": "resnet18", and a "dataset"\n'
    )
    assert list(tmp_path.iterdir()) == [file]


def test_a_gpu_has_a_number(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", plugin=None)
    done = call("run", file, "--device", "cuda:1", cwd=tmp_path)
    assert done.stderr.startswith(f"error: {file}: there is no plugin")
    done = call("run", file, "--device", "cpu:1", cwd=tmp_path)
    assert "'cpu:1' is not one of" in done.stderr


def test_a_plugin_on_the_command_line_starts_at_the_current_folder(
    call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    file = config(folder / "c.json")
    (tmp_path / "mine.py").write_text("raise RuntimeError('mine.py was loaded')\n")
    done = call("run", file, "--plugin", "mine.py", cwd=tmp_path)
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: importing {tmp_path / 'mine.py'} failed\n"
        "Traceback (most recent call last):\n"
        f'  File "{tmp_path / "mine.py"}", line 1, in <module>\n'
        "    raise RuntimeError('mine.py was loaded')\n"
        "RuntimeError: mine.py was loaded\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_syntax_error_in_a_plugin_shows_its_place_alone(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    (tmp_path / "plugin.py").write_text("def create_model(:\n")
    done = call("run", file, cwd=tmp_path)
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"error: importing {tmp_path / 'plugin.py'} failed"
    assert [line for line in lines if "File " in line] == [
        f'  File "{tmp_path / "plugin.py"}", line 1'
    ]
    assert lines[-1] == "SyntaxError: invalid syntax"


def test_a_plugin_that_lacks_functions_is_exit_code_2(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    (tmp_path / "plugin.py").write_text("def create_model(): ...\n")
    done = in_a_process("run", file, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: plugin {tmp_path / 'plugin.py'} doesn't offer")
    assert "create_datasets" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_directory_that_holds_a_run_is_refused_before_anything_starts(
    call: Call, tmp_path: Path
) -> None:
    file = config(tmp_path / "c.json")
    (tmp_path / "plugin.py").write_text(
        "def create_model(): raise AssertionError\ndef create_datasets(): raise AssertionError\n"
    )
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "result.json").write_text("{}")
    done = call("run", file, "--output-dir", "old", cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: old: holds a run already; go on with it by --resume old, or name another "
        "directory with --output-dir\n"
    )
    assert (tmp_path / "old" / "result.json").read_text() == "{}"
