"""``accaware doctor``: what it finds here, and what it says where something is wrong."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accaware
from accaware.api import doctor
from accaware.cli.app import app
from accaware.report.diagnosis import diagnosis_lines
from accaware.results.diagnosis import Diagnosis
from accaware.results.from_json import structured
from tests.cli.conftest import Call


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What it finds, once for all; torch is in a process of its own."""
    done = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def lines_of(found: dict[str, Any]) -> list[str]:
    content = {key: value for key, value in found.items() if key != "well"}
    return diagnosis_lines(structured(Diagnosis, content))


def test_versions_devices_and_runtimes(found: dict[str, Any]) -> None:
    assert found["well"]
    assert found["versions"]["accaware"] == accaware.__version__
    assert found["versions"]["python"] == platform.python_version()
    needed = {package["name"]: package for package in found["needed"]}
    assert needed["torch"]["version"] == importlib.metadata.version("torch")
    assert needed["torch"]["fits"]
    assert "pytest" not in needed
    assert [part["name"] for part in found["extras"]["timm"]] == ["timm"]
    assert not {"dev", "coverage"} & found["extras"].keys()
    assert [device["name"] for device in found["probe"]["devices"]][:1] == ["cpu"]
    assert found["probe"]["pair"] is None
    runtimes = {one["name"]: one["version"] for one in found["probe"]["runtimes"]}
    for name, version in runtimes.items():
        assert version == importlib.metadata.version(name)
    assert found["disk_free"].keys() == {"current", "temporary"}
    assert all(free > 0 for free in found["disk_free"].values())


def test_a_small_model_was_pruned(found: dict[str, Any]) -> None:
    test = found["self_test"]
    assert test["failure"] is None
    assert test["devices"] == [device["name"] for device in found["probe"]["devices"]]
    assert test["seconds"] > 0


def test_it_is_fit_to_be_pasted(found: dict[str, Any]) -> None:
    lines = lines_of(found)
    assert lines[0].split() == ["accaware", accaware.__version__]
    assert any(line.startswith("torchvision") and line.endswith("fits torch") for line in lines)
    assert any(line.startswith("self-test       passed on cpu") for line in lines)
    assert lines[-1] == "All is well."
    personal = [str(Path.home()), str(Path.cwd()), sys.prefix, platform.node()]
    text = "\n".join(lines) + json.dumps(found)
    assert [word for word in personal if word in text] == []
    assert f"/{getpass.getuser()}" not in text


@pytest.fixture
def fake_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch that comes before the real one; to be written."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "torch.py"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "raise ImportError('/home/jo/env/lib/libc10.so: undefined symbol, see https://a.b/c')",
            "torch can't be used: ImportError: libc10.so: undefined symbol, see https://a.b/c",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "torch can't be used: the process was ended by SIGSEGV",
        ),
        ("raise SystemExit(7)", "torch can't be used: the process ended with 7"),
        (
            "import time; time.sleep(60)",
            "torch can't be used: it took more than 0.5 seconds",
        ),
    ],
)
def test_a_torch_that_is_broken(
    call: Call, monkeypatch: pytest.MonkeyPatch, fake_torch: Path, code: str, problem: str
) -> None:
    if "sleep" in code:
        monkeypatch.setattr(doctor, "_IMPORTING", 0.5)
    fake_torch.write_text(code)
    done = call("doctor")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.endswith(f"\nPROBLEM: {problem}\n")
    assert "self-test" not in done.stdout


def test_what_is_needed_and_does_not_fit(
    call: Call, monkeypatch: pytest.MonkeyPatch, fake_torch: Path
) -> None:
    fake_torch.write_text("raise ImportError")
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "rich":
            raise importlib.metadata.PackageNotFoundError
        return {"typer": "0.1", "torch": "1.13.0+cu117"}.get(name) or real(name)

    monkeypatch.setattr(doctor, "version", version)
    done = call("doctor")
    assert done.exit_code == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith("PROBLEM: ")]
    assert "PROBLEM: rich is not installed" in problems
    assert any(line.startswith("PROBLEM: typer is 0.1, and >=") for line in problems)
    assert any(line.startswith("PROBLEM: torch is 1.13.0+cu117, and >=") for line in problems)
    pair = "PROBLEM: of the pair with torchvision, torch is 1.13.0+cu117, and "
    assert any(line.startswith(pair) for line in problems)
    assert "typer 0.1 (NEEDED: >=" in done.stdout
