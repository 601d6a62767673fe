"""Which stream gets which progress."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import IO

import pytest
from rich.console import Console

from accaware.report.console import can_redraw, console_on, is_seen, progress_on
from accaware.report.progress.line_progress import LineProgress
from accaware.report.progress.live_progress import LiveProgress


@pytest.fixture
def terminal() -> Iterator[IO[str]]:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb"), os.fdopen(terminal, "w") as stream:
        yield stream


def test_a_terminal_gets_a_live_table(terminal: IO[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_on(console_on(terminal), "top1"), LiveProgress)


def test_a_terminal_that_can_not_redraw_gets_lines(
    terminal: IO[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_on(console_on(terminal), "top1"), LineProgress)


@pytest.mark.parametrize("force", ["", "1"])
def test_a_pipe_gets_lines(monkeypatch: pytest.MonkeyPatch, force: str) -> None:
    monkeypatch.setenv("FORCE_COLOR", force)
    assert isinstance(progress_on(console_on(io.StringIO()), "top1"), LineProgress)


def test_a_notebook_is_looked_at_and_redrawn_where_it_has_widgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notebook = Console(file=io.StringIO(), force_jupyter=True)
    assert is_seen(notebook)
    for widgets, kind in ((None, LineProgress), (object(), LiveProgress)):
        monkeypatch.setattr("accaware.report.console.find_spec", lambda name, found=widgets: found)
        assert can_redraw(notebook) is (widgets is not None)
        assert isinstance(progress_on(notebook, "top1"), kind)


def test_a_pipe_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, terminal: IO[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not is_seen(console_on(io.StringIO()))
    assert is_seen(console_on(terminal))
