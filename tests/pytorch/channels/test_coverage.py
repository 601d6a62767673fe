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
    "shufflenet_v2_x0_5",  # splits, concatenates and shuffles
    "mobilenet_v3_small",  # convolves each channel apart, scales channels by what they hold
    "regnet_y_400mf",  # adds, and convolves in groups
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_one_of_each_kind_is_pruned_rightly(tmp_path: Path) -> None:
    # What a file has already isn't examined again, a fault of it neither.
    file, known = tmp_path / "rows.jsonl", {"name": "alexnet", "stages": {"eval": "WRONG: once"}}
    file.write_text(f"{json.dumps(known)}\n")
    script = str(ROOT / "scripts" / "coverage.py")
    words = ["--library", "torchvision", "--quick", "--output", str(file), *KINDS, "alexnet"]
    done = subprocess.run(
        [sys.executable, script, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = done.stdout + done.stderr
    assert "4 models: 3 pruned by at least 10%" in told, told
    _, *rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["name"] for row in rows] == list(KINDS)
    for row in rows:
        judged = ("eval", "training", "larger", "step", "file")
        assert row["stages"] == dict.fromkeys(judged, "right"), row
    assert "FAULT alexnet: eval: WRONG: once" in told
    assert done.returncode == 1
