"""A training script as torchrun starts it, on a shard of the digits: RANK WORLD STORE FOLDER.

Its baseline, its metric and its wish to stop are its own, so that processes which decided for
themselves would go different ways.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from accaware import create_accuracy_aware_training_loop
from accaware.pytorch import create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, SPARSITY, adaptive
from tests.runners.torch_case import (
    BATCH,
    PRUNING,
    TRAINING_IMAGES,
    accuracy,
    digits,
    trained_model,
)


def main(rank: int, world: int, store: str, folder: Path, section: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    model = trained_model()
    for value in model.state_dict().values():
        distributed.broadcast(value, src=0)
    baseline = accuracy(model) + rank
    config = adaptive(section, patience_epochs=2, maximal_total_epochs=8)
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    loop = create_accuracy_aware_training_loop(config, controller, baseline)
    dumped: list[str] = []
    loaded: list[str] = []

    def dump(model: nn.Module, controller: Any, runner: Any, into: str) -> str:
        path = f"{into}/{len(dumped)}.txt"
        Path(path).write_text("of the first process")
        dumped.append(path)
        return path

    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=lambda model, epoch: accuracy(model) - 0.5 * rank,
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.003),
        dump_checkpoint_fn=dump,
        load_checkpoint_fn=lambda model, path: loaded.append(Path(path).read_text()),
        early_stopping_fn=lambda metric: rank > 0,
        log_dir=str(folder / f"log-{rank}"),
    )
    told = {
        "result": [
            (trial.target_rate, trial.compression_rate, trial.metric, len(trial.epochs))
            for trial in loop.result.trials
        ],
        "budget": loop.result.budget.minimal_tolerable,
        "metric": loop.result.best and loop.result.best.metric,
        "accuracy": accuracy(model),
        "rate": controller.compression_rate,
        "weights": {name: value.flatten().tolist() for name, value in model.state_dict().items()},
        "files": sorted(path.name for path in (folder / f"log-{rank}").glob("*.pt")),
        "dumped": len(dumped),
        "loaded": loaded,
    }
    (folder / f"{rank}.json").write_text(json.dumps(told))
    distributed.barrier()
    distributed.destroy_process_group()
    print("all is told", flush=True)
    # On a busy machine the threads of torch's process group have aborted an interpreter that
    # ended, once in some eighty times; nothing of this script is left to do.
    os._exit(0)


def train(
    controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any = None
) -> float:
    """Each process its own part of a batch; the wrapper is made for the shapes of this epoch."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    images, classes = (part[:TRAINING_IMAGES] for part in digits())
    order = torch.randperm(TRAINING_IMAGES, generator=torch.Generator().manual_seed(epoch))
    parallel = nn.parallel.DistributedDataParallel(model)
    parallel.train()
    loss = torch.zeros(())
    for batch in order.split(BATCH):
        mine = batch[rank::world]
        loss = nn.functional.cross_entropy(parallel(images[mine]), classes[mine])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        controller.scheduler.step()
    return loss.item()


if __name__ == "__main__":
    rank, world, store, folder, algorithm = sys.argv[1:]
    section = {"filter_pruning": PRUNING, "magnitude_sparsity": SPARSITY}[algorithm]
    main(int(rank), int(world), store, Path(folder), section)
