"""events.jsonl tells of a search as it happens."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from accaware.rundir.journal import Journal
from accaware.search.events import BatchFinished
from tests.runners.fake import adaptive, holds_up_to, search


def _lines(path: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} isn't JSON")

    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_a_search_is_told_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Journal(path) as journal:
        journal.run_started(device="cpu", left_out=[("head", "an output")])
        done = search(
            holds_up_to(0.65), adaptive(minimal_compression_rate_step=0.1), observers=[journal]
        ).run()
    lines = _lines(path)
    assert lines[0]["left_out"] == [{"layer": "head", "reason": "an output"}]
    kinds = [line["event"] for line in lines]
    trial = ["trial_started", "epoch_started", "epoch_finished", "trial_finished"]
    assert kinds == ["run_started", "search_started", *trial * 3, "search_finished"]
    assert [line["target_rate"] for line in lines if line["event"] == "trial_started"] == [
        0.5,
        0.6,
        0.7,
    ]
    assert lines[-1]["result"]["best"]["trial"] == 1
    assert lines[-1]["result"]["status"] == "within_budget"
    assert "trials" not in lines[-1]["result"]
    assert done.result.best is not None


def test_times_are_iso_seconds_with_their_zone(tmp_path: Path) -> None:
    with Journal(tmp_path / "e") as journal:
        search(holds_up_to(1), observers=[journal]).run()
    for line in _lines(tmp_path / "e"):
        time = datetime.fromisoformat(line["time"])
        assert time.utcoffset() == timedelta(0)
        assert time.microsecond == 0


def test_each_line_is_there_at_once_and_batches_are_not(tmp_path: Path) -> None:
    path = tmp_path / "e"
    seen: list[int] = []
    with Journal(path) as journal:

        def train(*_: Any, **__: Any) -> None:
            journal.notify(BatchFinished("train", 1, 1))
            seen.append(len(_lines(path)))

        search(
            holds_up_to(0.5),
            adaptive(minimal_compression_rate_step=0.1),
            observers=[journal],
            train_epoch_fn=train,
        ).run()
    # search_started, trial_started, epoch_started, then a whole trial more.
    assert seen == [3, 7]


def test_a_metric_that_is_not_a_number_is_null(tmp_path: Path) -> None:
    with Journal(tmp_path / "e") as journal:
        search(lambda rate, age: math.nan, observers=[journal]).run()
    finished = [line for line in _lines(tmp_path / "e") if line["event"] == "epoch_finished"]
    assert finished[0]["epoch"]["metric"] is None


def test_a_second_journal_goes_on_behind_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        with Journal(tmp_path / "e") as journal:
            journal.run_started(device="cpu", left_out=[])
    assert len(_lines(tmp_path / "e")) == 2
