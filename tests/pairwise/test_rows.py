"""Every pair of what a run can be made of, in a run from its beginning to its end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed

from tests.pairwise import script
from tests.pairwise.command import accaware, launches, patch_world
from tests.pairwise.files import written
from tests.pairwise.plugins import MADE
from tests.pairwise.table import APART, FACTORS, Apart, Row, allowed_pairs, name_of, pairs_of, rows
from tests.runners.processes import run_script

NUMBERED = list(enumerate(rows()))


def test_every_pair_is_covered_or_has_its_reason() -> None:
    covered = set().union(*map(pairs_of, rows()))
    assert covered == allowed_pairs()
    apart = set().union(*(entry.pairs for entry in APART))
    assert apart.isdisjoint(covered)
    every = sum(len(one) * len(other) for one in FACTORS.values() for other in FACTORS.values())
    assert 2 * len(covered | apart) == every - sum(len(one) ** 2 for one in FACTORS.values())
    assert all(entry.reason for entry in APART)


@pytest.fixture
def world(operators_read_once: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and what the rows of several processes have as well."""
    patch_world(monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    MADE.clear()
    sys.modules.pop("mine", None)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=f"{number}-{row['mix']}-{row['form']}")
        for number, row in NUMBERED
        if row["processes"] == "1"
    ],
)
@pytest.mark.usefixtures("world")
def test_a_row(row: Row, tmp_path: Path) -> None:
    print(name_of(row))
    if row["form"] == "script":
        script.run(row, tmp_path)
    else:
        written(row, tmp_path)
        for launch in launches(row):
            launch(row, tmp_path)


@pytest.mark.skipif(
    not (distributed.is_available() and hasattr(os, "fork")), reason="there are no processes"
)
def test_the_rows_of_two_processes(tmp_path: Path) -> None:
    """In one go, as the processes take their time to begin."""
    expected = [number for number, row in NUMBERED if row["processes"] == "2"]
    assert len(expected) > 1
    print(run_script("tests.pairwise.several", str(tmp_path)))
    assert json.loads((tmp_path / "passed.json").read_text()) == expected


# What doesn't go together --------------------------------------------------------------------

REFUSED = [entry for entry in APART if entry.refusal is not None]


@pytest.mark.parametrize("entry", REFUSED, ids=[entry.reason for entry in REFUSED])
@pytest.mark.usefixtures("world")
def test_who_asks_for_what_is_apart_is_told(entry: Apart, tmp_path: Path) -> None:
    plain = {factor: values[0] for factor, values in FACTORS.items()}
    for pair in entry.pairs:
        row = {**plain, **dict(pair)}
        if row["mix"] == "quantization" and "mode" not in dict(pair):
            row["mode"] = "early_exit"
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        done = accaware("run", written(row, folder), "--output-dir", folder / "run")
        assert entry.refusal in " ".join(done.output.split()), (row, done.output)
