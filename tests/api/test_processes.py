"""``accaware.run`` where a process is something else than a script without workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import accaware

ROOT = Path(__file__).parents[2]

MINE = """
import os, sys
for name in ("onnxruntime", "openvino"):
    sys.modules[name] = None  # runs end without an export

import torch
from torch.utils.data import DataLoader, TensorDataset

import accaware
from accaware.config import EarlyExitParams, FilterPruningConfig, FilterPruningParams

CONFIG = accaware.AccAwareConfig(
    accuracy_aware_training=EarlyExitParams(
        maximal_absolute_accuracy_degradation=100.0, maximal_total_epochs=2
    ),
    compression=(
        FilterPruningConfig(
            params=FilterPruningParams(
                pruning_target=0.5, pruning_steps=2, prune_first_conv=True
            )
        ),
    ),
    device="cpu",
)


class Data(torch.utils.data.Dataset):
    def __init__(self, name):
        self.name = name

    def __len__(self):
        return 8

    def __getitem__(self, at):
        if torch.utils.data.get_worker_info() is not None:
            open(f"worker-{self.name}", "w").close()
        return torch.full((1, 8, 8), at / 8), at % 4


class Mine:
    def __init__(self, start_method):
        self.start_method = start_method

    def create_model(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        )

    def create_dataloaders(self):
        train = DataLoader(
            Data(self.start_method), 4, num_workers=1, multiprocessing_context=self.start_method,
            persistent_workers=self.start_method == "spawn",  # or each epoch imports torch anew
        )
        images = torch.stack([torch.full((1, 8, 8), at / 8) for at in range(8)])
        return train, DataLoader(TensorDataset(images, torch.arange(8) % 4), 4)

"""
SCRIPT = """
if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore", accaware.errors.AccAwareWarning)  # of persistent workers
    for start_method in ("spawn", "fork"):
        result = accaware.run(CONFIG, output_dir=start_method, plugin=Mine(start_method))
        worked = os.path.exists(f"worker-{start_method}")
        print(start_method, result.within_budget, result.epochs, worked)
"""


def test_a_script_with_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(MINE + SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines() == ["spawn True 2 True", "fork True 2 True"]


def test_what_is_typed_into_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: the main module has no file, and what it defines has no source."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(MINE, vars(main))
    result = accaware.run(main.CONFIG, output_dir="run", plugin=main.Mine("fork"))
    assert (result.within_budget, result.epochs) == (True, 2)
    assert Path("worker-fork").exists()
    assert accaware.resume("run").to_json() == result.to_json()
