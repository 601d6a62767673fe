"""Small classifiers of torchvision of each kind; ``scripts/coverage_torchvision.py`` does all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KINDS = (
    "squeezenet1_1",  # concatenates
    "shufflenet_v2_x0_5",  # splits and shuffles
    "mnasnet0_5",  # adds, and convolves each channel apart
    "mobilenet_v3_small",  # scales channels by what they hold
    "regnet_y_400mf",  # convolves in groups
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_one_of_each_kind_is_pruned_rightly() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/coverage_torchvision.py", *KINDS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 classifiers: 5 pruned by at least 10%" in done.stdout, done.stdout
