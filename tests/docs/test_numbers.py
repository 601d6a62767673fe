"""Numbers that follow from files of the repository alone are those that the pages tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TABLES = [
    ("docs/guides/ray.md", "scripts/simulate_workers.py"),
    ("docs/guides/ray.md", "scripts/simulate_workers.py --trials 8 --workers 2 4 8"),
    ("docs/explained/search.md", "scripts/false_stops.py"),
]


@pytest.mark.parametrize(("page", "command"), TABLES)
def test_a_table_is_what_its_script_prints(page: str, command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    table = done.stdout.strip()
    assert len(table.splitlines()) > 3
    assert table in (ROOT / page).read_text()
