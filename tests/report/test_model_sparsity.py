"""Where weights are zeroed, the rate is told beside the share of zeros in the whole model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from accaware.report.progress.line_progress import LineProgress
from accaware.report.progress.live_progress import LiveProgress
from accaware.rundir.result_file import read_result, result_document
from accaware.search.replay.replay import Replay
from accaware.search.replay.replayed_controller import ReplayedController
from tests.report.test_live import _rows, _terminal, _text, _written
from tests.report.test_summary import SPARSE, _shown, _table
from tests.runners.fake import FakeController, adaptive, holds_up_to, search


@pytest.fixture
def half_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the fake's models one half is covered."""
    share = property(lambda self: self.compression_rate / 2)
    monkeypatch.setattr(FakeController, "model_sparsity", share)


def found(*observers: Any) -> Any:
    params = adaptive(minimal_compression_rate_step=0.1)
    return search(holds_up_to(0.65), params, observers=list(observers)).run().result


@pytest.mark.usefixtures("half_covered")
def test_lines_tables_and_files_tell_it(tmp_path: Path) -> None:
    lines, console = io.StringIO(), _terminal()
    with LineProgress(lines, "top1") as log, LiveProgress(console, "top1") as live:
        result = found(log, live)
    log_lines = lines.getvalue().splitlines()
    assert log_lines[1].startswith("epoch 1/1 of trial 0: rate 50.0 %, model sparsity 25.0 %, loss")
    assert "rate 60.0 %, model sparsity 30.0 %, " in log_lines[-3]
    table = _text(_written(console)).rpartition("trial")[2]
    assert [row[:4] for row in _rows(table)][:2] == [
        ["0", "50.0 %", "50.0 %", "25.0 %"],
        ["1", "60.0 %", "60.0 %", "30.0 %"],
    ]
    assert _table(_shown(result, SPARSE))["model sparsity"] == ["30.0 %", "zeros of all parameters"]
    document = result_document(result, None, metric_name="top1", seconds=1.0)
    assert document["best"]["model_sparsity"] == 0.3
    assert [trial["model_sparsity"] for trial in document["trials"]][:2] == [0.25, 0.3]
    (tmp_path / "result.json").write_text(json.dumps({**document, "model": None}))
    read = read_result(tmp_path / "result.json")
    assert read is not None
    assert read.result.best == result.best.__class__(**{**vars(result.best), "checkpoint": ""})
    assert [trial.model_sparsity for trial in read.result.trials] == [
        trial.model_sparsity for trial in result.trials
    ]


def test_nothing_is_told_where_no_weight_is_zeroed() -> None:
    result = found()
    assert "model sparsity" not in _shown(result)
    document = result_document(result, None, metric_name="top1", seconds=1.0)
    assert "model_sparsity" not in document["best"]


class Halved:
    """As much of a controller as is asked."""

    scheduler: Any = None

    def __init__(self, sparsity: float | None) -> None:
        self.model_sparsity = sparsity


@pytest.mark.parametrize("sparsity", [0.25, None])
def test_it_is_recorded_where_there_is_any(sparsity: float | None) -> None:
    recorded: list[tuple[str, Any]] = []
    live = Replay(record=lambda call, answer: recorded.append((call, answer)))
    controller: Any = Halved(sparsity)
    assert ReplayedController(controller, live).model_sparsity == sparsity
    assert recorded == ([] if sparsity is None else [("model_sparsity", sparsity)])
    again = Replay([*recorded, ("clock", 1.0)])
    other: Any = Halved(0.9)
    assert ReplayedController(other, again).model_sparsity == sparsity
    assert again.next_call == "clock"
