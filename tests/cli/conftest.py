from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from accaware.cli.app import app

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """``call("run", file, cwd=...)``: accaware in this process, where torch can't be imported."""
    modules = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "torch", None)

    def call(*arguments: str | Path, cwd: Path | None = None) -> Result:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)

    yield call
    for name in set(sys.modules) - modules:
        if name.startswith("accaware_plugin_"):
            del sys.modules[name]
