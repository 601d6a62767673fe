"""By torchrun itself, which starts the processes again where one has failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import accaware.__main__
from tests.runners.processes import ROOT
from tests.torchrun.conftest import PRUNING, config, needs_processes


def torchrun(agent: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Two processes of it."""
    return subprocess.run(
        [sys.executable, "-m", agent, "--standalone", "--nproc-per-node", "2", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@needs_processes
def test_what_torchrun_starts_again_goes_on(tmp_path: Path) -> None:
    arguments = {"folder": str(tmp_path), "breaks": "raise"}
    search = {"patience_epochs": 3, "maximal_total_epochs": 3}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config(PRUNING, search=search, plugin_args=arguments)))
    done = torchrun(
        "tests.torchrun.agent",
        *("--max-restarts", "1"),
        # What -m accaware runs (below), without importing torch four times.
        *("--start-method", "fork", "--run-path", accaware.__main__.__file__),
        *("run", str(file), "--output-dir", str(tmp_path / "run"), "--auto-resume", "--json"),
    )
    assert done.returncode == 0, done.stderr
    # Of two attempts by two processes each, the first process of each prints what it found.
    found = done.stdout.replace("}\n{", "}\n\n{").split("\n\n")
    assert [json.loads(each)["stop_reason"] for each in found] == ["failed", "epochs_spent"]
    assert found[1] == (tmp_path / "run" / "result.json").read_text()
    assert done.stderr.count("ValueError: the plugin fails here") == 1
    assert "in the process of rank 1, of 2" in done.stderr
    journal = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in journal]
    assert events.count("run_started") == events.count("run_resumed") == 1
    assert events.count("epoch_finished") == 3


@needs_processes
def test_the_documented_command_runs_in_every_process() -> None:
    done = torchrun("torch.distributed.run", "-m", "accaware", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["accaware", accaware.__version__] * 2
