"""Processes that are killed at random moments.

``scripts/kill_and_resume.py --points 100`` does the same for longer, on more data.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ON_A_TINY_PLUGIN = """
import sys

import accaware.pytorch.run
import tests.resume.tiny_plugin

sys.path.insert(0, "scripts")
import kill_and_resume

of_the_demo = kill_and_resume.config

def config(algorithm):
    others = {"plugin": "tests.resume.tiny_plugin:Tiny", "batch_size": 16, "device": "cpu"}
    kept = of_the_demo(algorithm)
    return {key: kept[key] for key in ("accuracy_aware_training", "compression")} | others

kill_and_resume.config = config
kill_and_resume.NEEDED = [
    name for name in kill_and_resume.NEEDED if "digits" not in name and "sklearn" not in name
]
accaware.pytorch.run._TIMING_SECONDS = 0.01
sys.exit(kill_and_resume.main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_killed_and_resumed_until_it_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TINY_PLUGIN, "--points", "2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("filter_pruning: 2 of 2")
    assert lines[1].startswith("magnitude_sparsity: 2 of 2")
