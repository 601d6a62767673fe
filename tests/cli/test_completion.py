"""The tab key: in real shells, where torch can't be imported, and what is offered."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accaware.cli import completion
from accaware.cli.app import app
from tests.cli.test_app import WITHOUT_TORCH

PROMPT = "READY>"
LONGEST = 30.0
"""Seconds to wait for a shell on a busy machine."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two configs, two runs, and what is neither."""
    folder = tmp_path / "work"
    for name in (
        "configs/small.json",
        "configs/deep/large.json",
        "configs/plugin.py",
        "runs/first-1/events.jsonl",
        "runs/first-1/config.json",
        "runs/second-1/events.jsonl",
        "runs/none/note.txt",
        ".hidden/secret.json",
        "notes.txt",
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    monkeypatch.chdir(folder)
    return folder


class Shell:
    """An interactive shell at a terminal of its own, in which ``accaware`` is on the path."""

    def __init__(self, command: list[str], home: Path, folder: Path) -> None:
        fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))
        program = home / "bin" / "accaware"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!{sys.executable}\n{WITHOUT_TORCH}\n")
        program.chmod(0o755)
        self._controller, terminal = pty.openpty()
        environment = {
            "HOME": str(home),
            "ZDOTDIR": str(home),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TERM": "dumb",
            "PS1": PROMPT,
            "LC_ALL": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            cwd=folder,
            start_new_session=True,
            # A shell wants a terminal that is its session's own.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self._shown = ""
        self.until(PROMPT)

    def until(self, shown: str) -> str:
        """What is shown up to there, without colours and the like."""
        end = time.monotonic() + LONGEST
        while shown not in self._shown:
            ready, _, _ = select.select([self._controller], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{shown!r} doesn't come: {self._shown!r}"
            new = os.read(self._controller, 4096).decode()
            self._shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\r", "", self._shown + new)
        before, _, self._shown = self._shown.partition(shown)
        return before + shown

    def types(self, text: str) -> None:
        """Keys, as they are."""
        os.write(self._controller, text.encode())

    def does(self, line: str) -> str:
        """A line, until the next prompt."""
        self.types(line + "\n")
        self.until("\n")
        return self.until(PROMPT)

    def clears(self) -> None:
        """Takes back what was typed, and has a new prompt."""
        self.types("\x15\n")
        self.until(PROMPT)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._controller)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, files: Path, tmp_path: Path) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".zshrc").write_text(f"PS1='{PROMPT}'\nunsetopt prompt_cr prompt_sp\n")
    command = ["bash", "--noprofile", "-i"] if name == "bash" else ["zsh", "-i"]
    (home / ".bashrc").write_text(f"PS1='{PROMPT}'\n")
    running = Shell(command, home, files)
    try:
        running.does("accaware --install-completion")
        running.does(f"source {home}/.{name}rc")
        if name == "zsh":
            # The first time, what typer has made for it loads itself, and no more.
            running.types("accaware \t")
            running.until("\x07")
            running.clears()
        yield running
    finally:
        running.close()


def test_in_a_real_shell(shell: Shell) -> None:
    for typed, completed in (
        ("accaware inspe", "inspect "),
        ("accaware run --auto", "--auto-resume "),
        ("accaware run configs/s", "configs/small.json "),
        ("accaware run --resume runs/fi", "runs/first-1 "),
    ):
        begun = typed.rpartition(" ")[2]
        shell.types(typed + "\t")
        shown = shell.until(completed.removeprefix(begun))
        assert shown.replace("\x07", "").endswith(typed + completed.removeprefix(begun))
        shell.clears()


def offered(*words: str) -> list[str]:
    """What bash is told for the last of these words."""
    environment = {
        "_ACCAWARE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = CliRunner().invoke(app, env=environment, prog_name="accaware")
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.usefixtures("files")
def test_each_argument_has_its_own() -> None:
    assert offered("accaware", "validate-config", "") == [
        "configs/small.json",
        "configs/deep/large.json",
    ]
    assert offered("accaware", "compare", "runs/first-1", "r") == ["runs/first-1", "runs/second-1"]
    assert offered("accaware", "run", "c.json", "--plugin", "") == ["configs/plugin.py"]
    assert offered("accaware", "run", "c.json", "--device", "c") == ["cpu", "cuda"]
    assert offered("accaware", "export", "runs/first-1", "--format", "o") == ["onnx", "openvino"]
    assert offered("accaware", "init", "--from", "t") == ["torchvision", "timm"]


@pytest.mark.parametrize(
    ("complete", "typed", "completed"),
    [
        (completion.configs, "conf", ["configs/small.json", "configs/deep/large.json"]),
        (completion.configs, "./configs/d", ["./configs/deep/large.json"]),
        (completion.configs, "configs/deep/", ["configs/deep/large.json"]),
        (completion.configs, "runs/first-1/", ["runs/first-1/config.json"]),
        (completion.configs, ".h", [".hidden/secret.json"]),
        (completion.configs, "nowhere/", []),
        (completion.runs, "", ["runs/first-1", "runs/second-1"]),
        (completion.runs, "../work/runs/s", ["../work/runs/second-1"]),
        (completion.runs, "configs", []),
        (completion.plugins, "configs/p", ["configs/plugin.py"]),
    ],
)
@pytest.mark.usefixtures("files")
def test_it_goes_through_folders_to_what_is_wanted(
    complete: Callable[[str], list[str]], typed: str, completed: list[str]
) -> None:
    assert complete(typed) == completed


def test_a_home_is_a_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(files))
    assert completion.runs("~/runs/f") == ["~/runs/first-1"]


def test_of_very_many_files_some_are_offered(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.json").touch()
    assert len(completion.configs(f"{tmp_path}/")) == 200
