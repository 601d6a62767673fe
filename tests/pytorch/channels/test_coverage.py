"""Small classifiers of torchvision of each kind; ``scripts/coverage.py`` does all, and others."""

from __future__ import annotations

import json
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


def coverage(*words: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "scripts" / "coverage.py")
    return subprocess.run(
        [sys.executable, script, "--library", "torchvision", "--quick", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_one_of_each_kind_is_pruned_rightly(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    done = coverage(*KINDS, "--output", str(file))
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "5 models: 5 pruned by at least 10%" in told
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["name"] for row in rows] == list(KINDS)
    for row in rows:
        judged = ("eval", "training", "larger", "step", "file")
        assert row["stages"] == dict.fromkeys(judged, "right"), row
    # What is in the file isn't examined again, a fault of it neither; what takes too long ends.
    rows[0]["stages"]["eval"] = "WRONG: by hand"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    again = coverage(*KINDS, "alexnet", "--seconds", "0", "--output", str(file))
    assert again.returncode == 1
    assert "FAULT squeezenet1_1: eval: WRONG: by hand" in again.stdout
    assert "4 pruned" in again.stdout
    assert "1 ended by a limit" in again.stdout
