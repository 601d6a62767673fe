"""Learning curves of compressed models, for simulate_workers.py: a line of JSON for each model.

    python scripts/record_curves.py --seeds 0 1 2 --output scripts/learning_curves.jsonl

For each seed the trained model of one of compare_search.py's tasks is pruned to one rate after
another, and trained at each as a trial of a search is, its learning rate as it begins. As in a
search a trial starts from the best weights at the last rate that was within the budget. A line has
the dense metric, the budget, and for each rate the metric after each epoch.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from search_comparison import TASKS
from search_comparison.recipes import config_of
from search_comparison.task import BATCH, CPU, Task
from torch import Tensor, nn
from torch.utils.data import DataLoader

from accaware.pytorch import PTCompressionController, create_compressed_model
from accaware.pytorch.training import classification
from accaware.pytorch.training.optimizers import build_optimizer
from accaware.pytorch.training.plugin_ranking import IdleCompression

RATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.87, 0.9, 0.92, 0.94, 0.96)


@dataclass(frozen=True)
class Kept:
    """A compressed model as it was."""

    controller: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, controller: PTCompressionController, model: nn.Module) -> Kept:
        return cls(
            copy.deepcopy(controller.state_dict()),
            {name: tensor.clone() for name, tensor in model.state_dict().items()},
        )

    def restore(self, controller: PTCompressionController, model: nn.Module) -> None:
        controller.load_state_dict(self.controller)
        model.load_state_dict(self.weights)


class Recorder:
    """Trials of one model, each from the last one that held.

    Args:
        budget: the share of the dense metric that may be lost.
    """

    def __init__(self, task: Task, dense: float, budget: float, epochs: int) -> None:
        torch.manual_seed(task.seed)
        self._task, self._epochs = task, epochs
        self._least = dense * (1 - budget)
        self._config = config_of(type(task), task.seed, {})
        model = task.create_model()
        train, self._seen = task.create_datasets()
        self._loader = DataLoader(train, BATCH, shuffle=True, drop_last=True)
        self._controller, self._model = create_compressed_model(
            model, self._config, next(iter(self._loader))[0], self._loader
        )
        self._kept = Kept.of(self._controller, self._model)

    def curve(self, rate: float) -> list[float]:
        """The metric after each epoch at a rate."""
        self._kept.restore(self._controller, self._model)
        self._controller.compression_rate = rate
        optimizer, _ = build_optimizer(
            self._config.optimizer,
            self._model.parameters(),
            self._epochs,
            self._config.metric.higher_is_better,
        )
        train_epoch = getattr(self._task, "train_epoch", classification.train_epoch)
        found: list[float] = []
        for _ in range(self._epochs):
            train_epoch(self._model, self._loader, optimizer, IdleCompression(CPU))
            metric = self._task.measure(self._model, self._seen)
            if metric >= self._least and metric > max(found, default=0.0):
                self._kept = Kept.of(self._controller, self._model)
            found.append(round(metric, 4))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--budget", type=float, default=0.01, help="of the dense metric, a share")
    parser.add_argument("--output", type=Path, required=True, help="lines are added to it")
    parser.add_argument("--cache", type=Path, default=Path("runs/dense"), help="of dense models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        task = TASKS[options.task](seed)
        dense = task.load_dense(options.cache).seen
        recorder = Recorder(task, dense, options.budget, options.epochs)
        curves = {}
        for rate in RATES:
            curves[rate] = recorder.curve(rate)
            print(f"seed {seed}, rate {rate}: best {max(curves[rate])}, dense {dense}", flush=True)
        line = {
            "task": options.task,
            "seed": seed,
            "dense": dense,
            "budget": options.budget,
            "curves": curves,
        }
        with options.output.open("a", encoding="utf-8") as file:
            print(json.dumps(line), file=file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
