"""The ten smallest classifiers of torchvision; ``scripts/coverage_torchvision.py`` does all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_the_ten_smallest_are_pruned_rightly() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/coverage_torchvision.py", "--smallest"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 classifiers: 10 pruned by at least 10%" in done.stdout, done.stdout
