"""A start that fails leaves no directory, even where open files can't be removed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from accaware.cli.commands.run import run
from accaware.errors import PluginFailure
from accaware.rundir.directory import RunDirectory
from accaware.rundir.lock import locked
from tests.cli.test_app import GOOD

PLUGIN = """
def create_model():
    raise ValueError("not today")
def create_datasets():
    return [], []
"""


@pytest.fixture
def strict_system(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Refuses to remove what this process has open, as Windows does; gives what it refused."""
    if not sys.platform.startswith("linux"):
        pytest.skip("what is open is asked of Linux")
    refused: list[str] = []

    def strict(real: Any) -> Any:
        def remove(path: Any, *arguments: Any, **keywords: Any) -> None:
            links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
            opened = {os.path.realpath(link) for link in links}
            if os.path.realpath(path) in opened:
                refused.append(os.fspath(path))
                raise PermissionError(13, "used by another process", os.fspath(path))
            real(path, *arguments, **keywords)

        return remove

    monkeypatch.setattr(os, "unlink", strict(os.unlink))
    monkeypatch.setattr(os, "remove", strict(os.remove))
    return refused


def test_nothing_is_open_when_a_failed_start_is_undone(
    tmp_path: Path, strict_system: list[str]
) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(GOOD))
    for _ in range(2):
        with pytest.raises(PluginFailure, match="not today"):
            run(config, output_dir=tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()
    assert strict_system == []


def test_the_fixture_refuses_what_is_open(tmp_path: Path, strict_system: list[str]) -> None:
    file = tmp_path / "file"
    with file.open("w"), pytest.raises(PermissionError):
        file.unlink()
    assert strict_system == [str(file)]


def test_a_directory_in_which_a_lock_alone_was_left_is_free(tmp_path: Path) -> None:
    made = RunDirectory.create(tmp_path / "run")
    with locked(made.path, made.lock):
        made.events.unlink()
    made.lock.touch()
    assert RunDirectory.create(tmp_path / "run").events.exists()
