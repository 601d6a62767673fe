"""Whatever fails to be written, what was there before is intact, and the run can go on later."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from accaware.api.lifecycle.run_lifecycle import conduct
from accaware.cli.commands.run import exit_code
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.pytorch.state.checkpoint import read_checkpoint, write_checkpoint
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal
from accaware.rundir.journal_reader import read_journal
from tests.cli.scripted_run import starting
from tests.resume.full_disk import FullDisk
from tests.runners.fake import adaptive, holds_up_to

START = starting(
    holds_up_to(0.72),
    adaptive(minimal_compression_rate_step=0.04, patience_epochs=2),
    loss=lambda rate, age: math.inf if rate > 0.79 else rate,
)
MESSAGE = re.compile(r"error: (?P<path>\S+): (No space left on device|Read-only file system)")


def run(path: Path) -> ExitCode:
    """A new run, or the one that is there already."""
    directory = RunDirectory.open(path) if path.exists() else RunDirectory.create(path)
    output = Output(quiet=True, json=True)  # to draw a table takes as long as the rest
    return reported(lambda: exit_code(conduct(START, directory, "top1", output)))


def left_behind(path: Path) -> tuple[Any, str, list[str]]:
    result = json.loads((path / "result.json").read_text())
    del result["seconds"], result["latency"]
    files = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return result, (path / "best" / "model.pt").read_text(), files


@pytest.mark.parametrize("forever", [True, False], ids=["stays full", "once"])
def test_for_every_write_that_fails(
    tmp_path: Path, forever: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        disk = FullDisk(patch)
        assert run(tmp_path / "peace") == 0
    expected = left_behind(tmp_path / "peace")
    assert disk.calls > 100
    capsys.readouterr()
    for number in range(1, disk.calls + 1):
        path = tmp_path / f"{forever}-{number}"
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, number, forever=forever)
            code = run(path)
        error = capsys.readouterr().err
        assert code == 1, number
        lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
        found = MESSAGE.fullmatch(lines[0])
        assert found, error
        assert Path(found["path"]).is_relative_to(path)
        assert "Traceback" not in error
        assert run(path) == 0, number
        assert left_behind(path) == expected, number
        capsys.readouterr()


def test_what_torch_saves_fails_with_the_systems_words(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    content = {"weights": torch.arange(100_000)}
    write_checkpoint({"old": 1}, file)
    with pytest.MonkeyPatch.context() as patch:
        disk = FullDisk(patch)
        write_checkpoint(content, tmp_path / "b.pt")
    assert disk.calls >= 4
    for number in range(1, disk.calls):
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, number)
            with pytest.raises(OSError, match=r"a\.pt") as raised:
                write_checkpoint(content, file)
        assert raised.value.filename == str(file)
        assert read_checkpoint(file) == {"old": 1}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_a_journal_goes_on_behind_a_line_that_did_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal:
        journal.answer("validate", 1.0)
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(patch, 1, forever=False)
            with pytest.raises(OSError, match="No space left"):
                journal.answer("validate", 2.0)
        journal.answer("validate", 3.0)
    values = [line.content["value"] for line in read_journal(path)]
    assert values == [1.0, 3.0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_became_read_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "run")
    (tmp_path / "run" / "events.jsonl").chmod(0o400)
    assert run(tmp_path / "run") == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'run' / 'events.jsonl'}: ")
