"""A file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from accaware.rundir.atomic import write_text


def test_writes_the_text(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "ä\n")
    assert (tmp_path / "a.json").read_bytes() == "ä\n".encode()


def test_replaces_what_was_there_and_leaves_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    write_text(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_text_that_can_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "half " * 10_000 + "\udc80")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
