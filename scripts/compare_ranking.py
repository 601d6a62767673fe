"""Three rankings of filters on the digits, at the same rates: who keeps more accuracy?

Each starts from the same trained model: one-shot after removing, with batch norm statistics
re-estimated, and after a few epochs of training. Means over seeds of the dense model; learned
ranking learns once for each, on the validation data, as it does in a run.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from typing import Any

import torch
from torch import nn

from accaware import AccAwareConfig
from accaware.pytorch import PTCompressionController, RankingCallbacks, create_compressed_model
from accaware.pytorch.builtin.digits import Digits
from accaware.pytorch.data.batch_statistics import adapt_batchnorm
from accaware.pytorch.data.loaders import make_loader
from accaware.pytorch.training.classification import train_epoch, validate
from accaware.pytorch.training.plugin_ranking import IdleCompression
from accaware.search.events import Event, GenerationFinished

WIDTH, SEEDS, EPOCHS = 16, 3, 3
RATES = (0.5, 0.7)
LEARNING = {"generations": 60, "train_steps": 20, "max_pruning": 0.7}
CPU = torch.device("cpu")
RANKINGS: dict[str, dict[str, Any]] = {
    "unweighted": {},
    "all_weights": {"all_weights": True},
    "learned": {"interlayer_ranking_type": "learned_ranking", "legr_params": LEARNING},
}


class Last:
    """Remembers the last generation."""

    event: GenerationFinished | None = None

    def notify(self, event: Event) -> None:
        if isinstance(event, GenerationFinished):
            self.event = event


def config(params: dict[str, Any], target: str) -> AccAwareConfig:
    section = {
        "schedule": "baseline",
        target: 0.5,
        "prune_first_conv": True,
        "prune_downsample_convs": True,
        **params,
    }
    limits = {"maximal_absolute_accuracy_degradation": 1.0, "maximal_total_epochs": 1}
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {"mode": "early_exit", "params": limits},
            "compression": {"algorithm": "filter_pruning", "params": section},
        }
    )


class Task:
    def __init__(self, plugin: Digits) -> None:
        self._train, self._validation = plugin.create_datasets()

    def loader(self, *, train: bool) -> Any:
        data = self._train if train else self._validation
        return make_loader(data, batch_size=64, num_workers=0, train=train, seed=0, device=CPU)

    def train(self, model: nn.Module, batches: Any) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        train_epoch(model, batches, optimizer, IdleCompression(CPU))

    def steps(self, model: nn.Module, steps: int) -> None:
        self.train(model, list(itertools.islice(self.loader(train=True), steps)))

    def accuracy(self, model: nn.Module) -> float:
        return validate(model, self.loader(train=False))


def fine_tuned(task: Task, controller: PTCompressionController, rate: float) -> tuple[float, float]:
    """One-shot accuracy and that after training, in percent."""
    model = controller.model
    controller.compression_rate = rate
    adapt_batchnorm(model, task.loader(train=True), 512, CPU)
    shot = task.accuracy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = task.loader(train=True)
    for _ in range(EPOCHS):
        train_epoch(model, loader, optimizer, IdleCompression(CPU))
    return shot, task.accuracy(model)


def compare(target: str) -> None:
    results: dict[tuple[str, float], list[tuple[float, float]]] = {}
    dense = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        plugin = Digits(width=WIDTH, epochs=8)
        trained = plugin.create_model()
        task = Task(plugin)
        dense.append(task.accuracy(trained))
        for name, params in RANKINGS.items():
            last = Last()
            callbacks = RankingCallbacks(
                train_steps_fn=task.steps, validate_fn=task.accuracy, observers=[last]
            )
            began = time.perf_counter()
            model = copy.deepcopy(trained)
            example = torch.zeros(1, 1, 8, 8)
            controller, _ = create_compressed_model(
                model, config(params, target), example, ranking_callbacks=callbacks
            )
            if last.event is not None:
                seconds = time.perf_counter() - began
                print(f"seed {seed}: learned in {seconds:.0f} s, best {last.event.best:.2f}")
            state = copy.deepcopy(controller.state_dict())
            for rate in RATES:
                controller.load_state_dict(state)
                outcome = fine_tuned(task, controller, rate)
                results.setdefault((name, rate), []).append(outcome)
    measure = "FLOPs" if "flops" in target else "filters"
    print(f"\nrates of {measure}; dense: {statistics.mean(dense):.2f}; {SEEDS} seeds")
    print(f"{'rate':>5}  {'ranking':<12}  {'one-shot':>8}  {f'{EPOCHS} epochs':>8}")
    for (name, rate), outcomes in sorted(results.items(), key=lambda item: item[0][1]):
        shot, tuned = (statistics.mean(part) for part in zip(*outcomes, strict=True))
        print(f"{rate:>5.0%}  {name:<12}  {shot:>8.2f}  {tuned:>8.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for key in ("pruning_target", "pruning_flops_target"):
        compare(key)
