"""The journal read back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import JournalError
from accaware.rundir.journal import Journal, WhileLive
from accaware.rundir.journal_reader import read_journal, recording_of
from accaware.search.events import EpochStarted
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import SNAPSHOT


def mark(name: str) -> dict[str, Any]:
    return {"name": name, "digests": {name: f"digest of {name}"}}


def written(path: Path) -> Path:
    file = path / "events.jsonl"
    with Journal(file) as journal:
        journal.answer("baseline", 0.9)
        journal.answer(SNAPSHOT, mark("snapshot-1"))
        journal.notify(EpochStarted(0, 2))
        journal.answer("train_epoch", None)
        journal.answer(SNAPSHOT, mark("snapshot-2"))
        journal.answer("validate", 0.8)
    return file


def recorded(file: Path, intact: Any = lambda name, digest: True) -> Any:
    return recording_of(read_journal(file), intact, file)


def test_up_to_the_last_snapshot(tmp_path: Path) -> None:
    file = written(tmp_path)
    recording = recorded(file)
    calls = [call for call, _ in recording.answers]
    assert calls == ["baseline", SNAPSHOT, "train_epoch", SNAPSHOT]
    assert recording.answers[-1] == (SNAPSHOT, mark("snapshot-2"))
    assert file.read_bytes()[recording.end :].count(b"\n") == 1
    assert recording.damaged == ()


def test_up_to_the_one_before_where_the_last_is_damaged(tmp_path: Path) -> None:
    file = written(tmp_path)
    recording = recorded(file, lambda name, digest: digest == "digest of snapshot-1")
    assert recording.answers == (("baseline", 0.9), (SNAPSHOT, mark("snapshot-1")))
    assert recording.damaged == ("snapshot-2",)


def test_with_no_snapshot_left_it_does_not_start_over_silently(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="snapshot-2 and snapshot-1 in checkpoints can't be"):
        recorded(written(tmp_path), lambda name, digest: False)


def test_without_a_snapshot_it_starts_over(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with Journal(file) as journal:
        journal.answer("baseline", 0.9)
    assert recorded(file).answers == ()
    assert recorded(file).end == 0


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 0.1 + 0.2, 5e-324, -0.0, True, False, None, 3]
)
def test_any_answer_comes_back_as_it_was(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "events.jsonl"
    with Journal(file) as journal:
        journal.answer("asked", value)
        journal.answer(SNAPSHOT, mark("snapshot-1"))
    again = recorded(file).answers[0][1]
    assert type(again) is type(value)
    assert repr(again) == repr(value)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path)
    whole = len(read_journal(file))
    file.write_bytes(file.read_bytes()[:-cut])
    assert len(read_journal(file)) == whole - 1


def test_zeros_that_a_power_cut_leaves_are_a_torn_line(tmp_path: Path) -> None:
    file = written(tmp_path)
    whole = len(read_journal(file))
    file.write_bytes(file.read_bytes() + b"\0" * 100)
    assert len(read_journal(file)) == whole


@pytest.mark.parametrize(
    "garbage", [b"{", b"\xff\xfe", b"[1]", b'{"time": 1}', b'{"event": 3}', b"", b'"event"']
)
@pytest.mark.parametrize("at", [0, 2, 5])
def test_anything_else_names_its_line(tmp_path: Path, garbage: bytes, at: int) -> None:
    file = written(tmp_path)
    lines = file.read_bytes().splitlines()
    lines[at] = garbage
    file.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(JournalError, match=rf"events\.jsonl:{at + 1}: can't be read"):
        recorded(file)


@pytest.mark.parametrize(
    ("event", "broken"),
    [("answer", {"value": 1}), ("answer", {"call": "a"}), ("snapshot", {"name": "a"})],
)
def test_an_event_that_lacks_something_names_its_line(
    tmp_path: Path, event: str, broken: dict[str, Any]
) -> None:
    file = tmp_path / "events.jsonl"
    whole = json.dumps({"event": "snapshot", "seconds": 1, **mark("snapshot-1")})
    file.write_text(json.dumps({"event": event, **broken}) + "\n" + whole + "\n")
    with pytest.raises(JournalError, match=r"events\.jsonl:1: can't be read"):
        recorded(file)


def test_a_replay_is_not_journaled_again(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with Journal(file) as journal:
        replay = Replay([("validate", 1.0)], journal.answer)
        observer = WhileLive(journal, replay)
        observer.notify(EpochStarted(0, 1))
        replay.answer("validate", lambda: 2.0)
        observer.notify(EpochStarted(0, 2))
    assert [line.content["number"] for line in read_journal(file)] == [2]


def test_seconds_go_on_where_the_last_process_left_off(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with Journal(file, seconds=100.0) as journal:
        journal.answer(SNAPSHOT, mark("snapshot-1"))
        assert 100 <= journal.seconds < 160
    assert 100 <= recorded(file).seconds < 160
