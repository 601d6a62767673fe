"""Which stream gets which progress."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import IO

import pytest

from accaware.report.console import console_on, progress_on
from accaware.report.line_progress import LineProgress
from accaware.report.live_progress import LiveProgress


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
