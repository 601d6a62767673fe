"""Where runs go, and that none overwrites another."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accaware.errors import UsageError
from accaware.rundir.directory import RunDirectory


def test_numbers_begin_at_one_and_the_first_free_one_is_taken(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    made = [RunDirectory.create_numbered("digits", runs).path.name for _ in range(3)]
    assert made == ["digits-1", "digits-2", "digits-3"]
    assert RunDirectory.create_numbered("other", runs).path.name == "other-1"


def test_runs_that_start_at_once_get_a_directory_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunDirectory.create_numbered("x", tmp_path), range(32)))
    assert sorted(directory.path.name for directory in made) == sorted(
        f"x-{number}" for number in range(1, 33)
    )


def test_of_runs_that_claim_one_directory_at_once_one_gets_it(tmp_path: Path) -> None:
    def claim(_: int) -> bool:
        try:
            RunDirectory.create(tmp_path / "a" / "b")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(32))) == 1


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "a" / "b")
    assert directory.path.is_dir()


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "events.jsonl", "best/model.pt"])
def test_a_directory_with_any_file_of_a_run_is_refused_and_stays_as_it_is(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    with pytest.raises(UsageError, match=r"holds a run already; go on .* --resume"):
        RunDirectory.create(tmp_path)
    assert file.read_text() == "precious"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_a_directory_with_other_files_is_welcome(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert RunDirectory.create(tmp_path).events.exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: can't write a run here: Not a directory"):
        RunDirectory.create(tmp_path / "file")
    with pytest.raises(UsageError, match="file: can't write a run here: Not a directory"):
        RunDirectory.create_numbered("x", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="can't write a run here: Permission denied"):
        RunDirectory.create(tmp_path / "a")


def _fill(directory: RunDirectory) -> None:
    directory.config.touch()
    directory.checkpoints.mkdir()
    (directory.checkpoints / "trial-0.pt").touch()
    directory.model.parent.mkdir()
    directory.model.touch()


@pytest.mark.parametrize(
    "create",
    [
        lambda top: RunDirectory.create(top / "a" / "b"),
        lambda top: RunDirectory.create_numbered("x", top / "runs"),
    ],
)
def test_discarding_leaves_nothing_behind(
    tmp_path: Path, create: Callable[[Path], RunDirectory]
) -> None:
    directory = create(tmp_path)
    _fill(directory)
    directory.discard()
    assert list(tmp_path.iterdir()) == []


def test_discarding_spares_what_was_there_before_and_what_others_wrote(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    directory = RunDirectory.create(tmp_path)
    _fill(directory)
    directory.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    made = RunDirectory.create(tmp_path / "made")
    (made.path / "from the plugin").touch()
    made.discard()
    assert [path.name for path in made.path.iterdir()] == ["from the plugin"]


def test_dropping_checkpoints_keeps_the_rest(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path)
    _fill(directory)
    directory.drop_checkpoints()
    directory.drop_checkpoints()
    assert not directory.checkpoints.exists()
    assert directory.model.exists()
