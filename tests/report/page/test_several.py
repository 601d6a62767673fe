"""Runs side by side, on a page and on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import accaware
from accaware.results.handed_over import HandedOver
from accaware.results.sizes import Size
from accaware.rundir.directory import RunDirectory
from tests.cli.conftest import Call, call
from tests.report.page.conftest import COARSE, write_run
from tests.report.page.reading import Page
from tests.rundir.test_result_document import LATENCY, SIZES
from tests.runners.fake import holds_up_to

__all__ = ["call"]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two that have ended, of which the first lost nothing, and one that has just begun."""
    model = HandedOver(sizes=SIZES, latency=LATENCY)
    write_run(tmp_path / "small", holds_up_to(0.65), COARSE, model)
    larger = HandedOver(sizes=replace(SIZES, flops=Size(5000, 900)))
    write_run(tmp_path / "large", lambda rate, age: 1 - rate / 10, COARSE, larger)
    RunDirectory.create(tmp_path / "new")
    return [tmp_path / name for name in ("small", "large", "new")]


def test_a_page_of_several(runs: list[Path], tmp_path: Path) -> None:
    page = Page(accaware.write_report(*runs, output=tmp_path / "all.html"))
    assert page.column("Runs", "run") == list(map(str, runs))
    assert page.column("Runs", "verdict") == ["within", "within", "not judged, interrupted"]
    assert page.column("Runs", "FLOPs") == ["700", "900", "-"]
    assert list(page.sections)[:2] == ["Runs", "Pareto fronts"]
    marks = [(kind, tip) for kind, tip in page.tips if ", FLOPs 700" in tip or ", FLOPs 900" in tip]
    assert [kind for kind, _ in marks] == ["good best", "good"]
    assert marks[0][1].endswith("on the Pareto front")
    # Each run's own page is behind.
    assert page.text.count("The dense model against") == 2


def test_its_place_if_none_is_given(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert accaware.write_report(*runs) == Path("report.html")
    assert Path("report.html").is_file()


def test_the_same_on_the_terminal(runs: list[Path], tmp_path: Path, call: Call) -> None:
    shown = call("compare", "small", "large", "new", cwd=tmp_path).output
    rows = {line.split()[0]: line.split() for line in shown.splitlines()[2:] if line.strip()}
    assert rows["small"][1:4] == ["within", "1", "0"]
    assert rows["new"][-5:-3] == ["-", "-"]
    found = json.loads(call("compare", "small", "large", "--json", cwd=tmp_path).output)
    assert [run["flops"]["compressed"] for run in found["runs"]] == [700, 900]
    assert found["pareto_fronts"]["latency"] == ["small"]
    assert call("compare", "small", "none", cwd=tmp_path).exit_code == 2
