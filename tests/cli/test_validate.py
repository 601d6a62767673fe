"""``accaware validate-config`` and ``accaware schema``, as their users call them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accaware.config.load import examine_file
from accaware.errors import Diagnostic
from accaware.report.diagnostics import diagnostic_line, diagnostics_text, github_annotation
from tests.cli.conftest import Call
from tests.cli.test_app import WITHOUT_TORCH, config, in_a_process

PLUGIN = """
print("noise")
def create_model(): ...
def create_datasets(): ...
"""


def given(text: str | bytes, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *arguments]
    raw = text.encode() if isinstance(text, str) else text
    return subprocess.run(command, input=raw, capture_output=True, check=False, cwd=cwd)


def test_the_schema_is_printed_without_what_is_slow() -> None:
    code = (
        "import sys\n"
        "from accaware.cli.app import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'rich', 'jsonschema') if m in sys.modules], "
        "file=sys.stderr)"
    )
    done = in_a_process("schema", code=code)
    assert done.returncode == 0
    printed = json.loads(done.stdout)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "filter_pruning" in printed["$defs"]
    assert done.stderr == "[]\n"


def test_json_is_one_list_for_all_files(call: Call, tmp_path: Path) -> None:
    bad = config(tmp_path / "bad.json", batch_sise=3, input_infos={"sample_size": [1]})
    good = config(tmp_path / "good.json")
    done = call("validate-config", bad, good, tmp_path / "none.json", "--format", "json")
    assert (done.exit_code, done.stderr) == (2, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    text = bad.read_text().splitlines()
    line = next(at for at, row in enumerate(text, 1) if "batch_sise" in row)
    assert found[0] == {
        "file": str(bad),
        "line": line,
        "column": 3,
        "path": "batch_sise",
        "message": "is not a known key; did you mean batch_size?",
        "severity": "error",
        "suggestion": "batch_size",
    }
    assert [one["severity"] for one in found] == ["error", "note", "error"]
    assert found[2]["file"] == str(tmp_path / "none.json")
    assert found[2]["line"] is None


def test_json_of_what_is_right_is_an_empty_list(call: Call, tmp_path: Path) -> None:
    done = call("validate-config", config(tmp_path / "c.json"), "--format", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_github_gets_annotations(call: Call, tmp_path: Path) -> None:
    file = config(
        tmp_path / "c.json", seed=-1, target_device="CPU", input_infos={"sample_size": [1]}
    )
    done = call("validate-config", file, "--format", "github")
    assert done.exit_code == 2
    rows = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert sorted(rows) == ["::error", "::notice", "::warning"]
    assert "col=11::seed: -1 is below the minimum 0" in done.stdout


def test_annotations_are_escaped() -> None:
    one = Diagnostic("100%\r\nof it", path="a:b,c", file="C:\\a,b%.json", line=3, column=4)
    assert github_annotation(one) == (
        "::error file=C%3A\\a%2Cb%25.json,line=3,col=4::a:b,c: 100%25%0D%0Aof it"
    )
    assert github_annotation(Diagnostic("lost", severity="note")) == "::notice::lost"


def test_standard_input_is_a_file_like_any_other(tmp_path: Path) -> None:
    good = config(tmp_path / "c.json").read_text()
    done = given(good, "validate-config", "-", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"<stdin>: ok\n")
    done = given(b'{\n "seed": \xff}', "validate-config", "-", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith(b"<stdin>:2:10: is not UTF-8")
    done = given("", "validate-config", "-", "--format", "json", cwd=tmp_path)
    assert "the file is empty" in json.loads(done.stdout)[0]["message"]


def test_resolved_is_a_config_that_loads_to_the_same(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", log_dir="logs")
    done = in_a_process("validate-config", file, "--resolved", "--set", "seed=7")
    assert done.returncode == 0
    assert "log_dir: is ignored" in done.stderr
    again = tmp_path / "again.json"
    again.write_text(done.stdout)
    assert json.loads(done.stdout)["compression"][0]["params"]["pruning_target"] == 0.1
    assert json.loads(done.stdout)["batch_size"] == 64
    assert examine_file(again).require() == examine_file(file, ["seed=7"]).require()


def test_resolved_prints_nothing_for_a_config_with_errors(call: Call, tmp_path: Path) -> None:
    done = call("validate-config", config(tmp_path / "c.json", seed=-1), "--resolved")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "seed: -1 is below" in done.stderr


def test_resolved_takes_one_file(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    done = call("validate-config", file, file, "--resolved")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: --resolved prints one config; name one file\n"


def test_a_setting_is_validated_and_pointed_at(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", seed=-1)
    done = call("validate-config", file, "--set", "seed=3", "--set", "batch_size=0")
    assert done.exit_code == 2
    assert done.stdout == "--set batch_size=0: batch_size: 0 is below the minimum 1\n"


def test_a_plugin_is_checked_when_asked_for(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    (tmp_path / "plugin.py").write_text(PLUGIN)
    done = in_a_process("validate-config", file, "--check-plugin", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr == "noise\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def create_model(): ...", "doesn't offer what accaware needs: missing: create_datasets"),
        ("def create_model(x): ...", "; wrong arguments: create_model(x)"),
        ("import nothing_of_that_name", "failed with ModuleNotFoundError: No module named"),
        ("raise SystemExit(0)", "called sys.exit(0)"),
        (None, "there is no file"),
    ],
)
def test_a_plugins_faults_point_at_its_key(
    call: Call, tmp_path: Path, source: str | None, message: str
) -> None:
    file = config(tmp_path / "c.json")
    if source is not None:
        (tmp_path / "plugin.py").write_text(source)
    done = call("validate-config", file, "--check-plugin", "--format", "json")
    assert done.exit_code == 2
    (one,) = json.loads(done.stdout)
    assert (one["path"], one["line"], one["column"]) == ("plugin", 2, 3)
    assert message in one["message"]
    assert "accaware" not in done.stderr


def test_a_plugins_exception_is_shown_as_the_users(call: Call, tmp_path: Path) -> None:
    file = config(tmp_path / "c.json")
    (tmp_path / "plugin.py").write_text("def f():\n    1 / 0\nf()\n")
    done = call("validate-config", file, "--check-plugin")
    assert done.exit_code == 2
    assert "ZeroDivisionError: division by zero" in done.stdout
    frames = [line for line in done.stderr.splitlines() if "File" in line]
    assert frames
    assert all(str(tmp_path / "plugin.py") in line for line in frames)


def test_a_missing_plugin_is_an_error_when_it_is_to_be_checked(call: Call, tmp_path: Path) -> None:
    done = call("validate-config", config(tmp_path / "c.json", plugin=None), "--check-plugin")
    assert done.exit_code == 2
    assert 'plugin: is missing, and --check-plugin asks for it; add "plugin"' in done.stdout


def test_a_terminal_gets_the_line_and_a_caret(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", seed=-1)
    reader, writer = pty.openpty()
    command = [sys.executable, "-m", "accaware", "validate-config", str(file)]
    with subprocess.Popen(command, stdout=writer, stderr=writer) as process:
        os.close(writer)
        shown = b""
        try:
            while chunk := os.read(reader, 4096):
                shown += chunk
        except OSError:  # how a terminal says that the other side is gone
            pass
        os.close(reader)
        assert process.wait() == 2
    lines = shown.decode().splitlines()
    assert lines[0].endswith("seed: -1 is below the minimum 0")
    assert lines[1:] == ['    "seed": -1', "            ^"]


@pytest.mark.parametrize(
    ("source", "column", "shown"),
    [
        ('\t"seed": -1,', 10, '    "seed": -1,\n            ^'),
        ('"é世": -1,', 7, '    "é世": -1,\n           ^'),
        ("x" * 300, 201, f"    {'x' * 100}\n    {' ' * 50}^"),
        ('"a\x1b[31m": 1', 11, '    "a [31m": 1\n              ^'),
    ],
)
def test_the_caret_stands_below_its_column(source: str, column: int, shown: str) -> None:
    one = Diagnostic("wrong", file="c.json", line=3, column=column, source=source)
    assert diagnostics_text([one], context=True) == f"c.json:3:{column}: wrong\n{shown}"


def test_a_diagnostic_is_one_line_whatever_the_key_holds() -> None:
    one = Diagnostic("is not a known key", path="a\nb\x1b", file="c.json", line=1, column=2)
    assert diagnostic_line(one) == "c.json:1:2: a\\nb\\x1b: is not a known key"


def test_any_encoding_of_the_terminal_will_do(tmp_path: Path) -> None:
    file = config(tmp_path / "c.json", é世=1)
    command = [sys.executable, "-m", "accaware", "validate-config", str(file)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (2, b"")
    assert b"\\xe9\\u4e16: is not a known key" in done.stdout
