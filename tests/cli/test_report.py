"""The command writes a page and says where it is."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from accaware.rundir.directory import RunDirectory
from tests.cli.conftest import Call


def test_says_where_the_page_is(call: Call, tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run")
    ended = call("report", tmp_path / "run")
    assert ended.exit_code == 0
    assert ended.output == f"{tmp_path / 'run' / 'report.html'}\n"
    assert (tmp_path / "run" / "report.html").is_file()


def test_opens_it(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    RunDirectory.create(tmp_path / "run")
    call("report", "run", "--output", "my page.html", "--open", cwd=tmp_path)
    assert opened == [(tmp_path / "my page.html").as_uri()]


def test_there_is_no_run(call: Call, tmp_path: Path) -> None:
    ended = call("report", tmp_path)
    assert ended.exit_code == 2
    assert "holds no run" in ended.output
