"""Processes that are killed at random moments; ``--points 100`` does the same for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_killed_and_resumed_until_it_ends() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/kill_and_resume.py", "--points", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("filter_pruning: 1 of 1")
    assert lines[1].startswith("magnitude_sparsity: 1 of 1")
