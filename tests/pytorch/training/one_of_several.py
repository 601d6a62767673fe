"""A training script as torchrun starts it, on a shard of the digits: WORLD FOLDER ALGORITHM...

Its baseline, its metric, its wish to stop, its training data and how its candidates of a ranking
do are its own, so that processes which decided for themselves would go different ways.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from accaware import create_accuracy_aware_training_loop
from accaware.pytorch import RankingCallbacks, create_compressed_model
from accaware.pytorch.distributed.agreement import agreed, gathered
from tests.pytorch.training.scripts import EXAMPLE, SPARSITY, adaptive
from tests.runners.forks import in_forks
from tests.runners.torch_case import (
    BATCH,
    PRUNING,
    TRAINING_IMAGES,
    accuracy,
    digits,
    trained_model,
)

MIX: list[dict[str, Any]] = [
    {
        **PRUNING,
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 200}},
        "params": {
            **PRUNING["params"],
            "interlayer_ranking_type": "learned_ranking",
            "legr_params": {"generations": 5, "train_steps": 1, "max_pruning": 0.6},
        },
    },
    {"algorithm": "quantization", "initializer": {"range": {"num_init_samples": 200}}},
]

BY_GRADIENTS = {
    **PRUNING,
    "params": {
        **PRUNING["params"],
        "num_init_steps": 1,
        "filter_importance": "taylor",
        "allocation": "global",
    },
}

RECONSTRUCTED = {**PRUNING, "params": {**PRUNING["params"], "reconstruction_samples": 200}}

MESSAGES = "messages"
LENGTHS = (0, 1, *range(2015, 2060), 5000, 100_000)
"""Of texts; somewhere in the middle they no longer fit into one message."""

SECTIONS = {
    "filter_pruning": PRUNING,
    "filter_pruning_by_gradients": BY_GRADIENTS,
    "magnitude_sparsity": SPARSITY,
    "learned_ranking_in_8_bits": MIX,
    "averaged_weights": PRUNING,
    "confirmed": PRUNING,
    "reconstruction": RECONSTRUCTED,
}


def main(rank: int, world: int, folder: Path, algorithms: list[str]) -> None:
    """One algorithm after another, as it takes a process its time to begin."""
    torch.set_num_threads(1)
    told: dict[str, Any] = {}
    for algorithm in algorithms:
        place = folder / algorithm
        place.mkdir(exist_ok=True)
        store = (place / "store").as_uri()
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
        averaging = "polynomial" if algorithm == "averaged_weights" else "none"
        confirmation = {} if algorithm == "confirmed" else None
        if algorithm == MESSAGES:
            told[algorithm] = messages(rank)
        else:
            section = SECTIONS[algorithm]
            told[algorithm] = search(rank, world, place, section, averaging, confirmation)
        distributed.barrier()
        distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(told))


def messages(rank: int) -> list[Any]:
    """What is heard of texts of all lengths; each process has its letter, and one's is longer."""
    texts = [f"{rank}" * (length + 7 * rank) for length in LENGTHS]
    return [(agreed(text), gathered(text)) for text in texts]


def search(
    rank: int,
    world: int,
    folder: Path,
    section: Any,
    averaging: str,
    confirmation: dict[str, Any] | None,
) -> dict[str, Any]:
    """What became of it in this process."""
    torch.manual_seed(0)
    model = trained_model()
    for value in model.state_dict().values():
        distributed.broadcast(value, src=0)
    baseline = accuracy(model) + rank
    config = adaptive(
        section,
        patience_epochs=2,
        maximal_total_epochs=6,
        weight_averaging=averaging,
        **({} if confirmation is None else {"confirmation": confirmation}),
    )
    images, classes = (part[rank:TRAINING_IMAGES:world] for part in digits())
    batches = list(zip(images.split(BATCH), classes.split(BATCH), strict=True))
    ranking = RankingCallbacks(
        train_steps_fn=lambda model, steps: model.train()(images[:BATCH]),
        validate_fn=lambda model: accuracy(model) * (-1) ** rank,
    )
    controller, _ = create_compressed_model(
        model, config, EXAMPLE, batches, ranking_callbacks=ranking
    )
    epochs: list[dict[str, str]] = []

    def train_noting(controller: Any, model: nn.Module, **rest: Any) -> float:
        epochs.append(state_of(controller, model))
        return train(controller, model, **rest)

    kept_back = None if confirmation is None else baseline
    loop = create_accuracy_aware_training_loop(
        config, controller, baseline, confirmation_baseline=kept_back
    )
    dumped: list[str] = []
    loaded: list[str] = []

    def dump(model: nn.Module, controller: Any, runner: Any, into: str) -> str:
        path = f"{into}/{len(dumped)}.txt"
        Path(path).write_text("of the first process")
        dumped.append(path)
        return path

    loop.run(
        model,
        train_epoch_fn=train_noting,
        validate_fn=lambda model, epoch: accuracy(model) - 0.5 * rank,
        configure_optimizers_fn=lambda: torch.optim.Adam(model.parameters(), lr=0.003),
        dump_checkpoint_fn=dump,
        load_checkpoint_fn=lambda model, path: loaded.append(Path(path).read_text()),
        early_stopping_fn=lambda metric: rank > 0,
        log_dir=str(folder / f"log-{rank}"),
        # The first process confirms, and the others would not.
        confirm_fn=None if confirmation is None else lambda model: baseline - 2 * rank,
    )
    return {
        "result": [
            (trial.target_rate, trial.compression_rate, trial.metric, len(trial.epochs))
            for trial in loop.result.trials
        ],
        "budget": loop.result.budget.minimal_tolerable,
        "metric": loop.result.best and loop.result.best.metric,
        "confirmation": repr(loop.result.confirmation),
        "within_budget": loop.result.within_budget,
        "accuracy": accuracy(model),
        "rate": controller.compression_rate,
        "weights": {name: value.flatten().tolist() for name, value in model.state_dict().items()},
        "files": sorted(path.name for path in (folder / f"log-{rank}").glob("*.pt")),
        "coefficients": repr(getattr(controller.algorithm, "coefficients", None)),
        "epochs": epochs,
        "dumped": len(dumped),
        "loaded": loaded,
    }


def state_of(controller: Any, model: nn.Module) -> dict[str, str]:
    """A digest of each thing that has to be the same in all processes before an epoch."""
    ranges = controller.quantization and controller.quantization.state_dict()
    masks = controller.algorithm.kept_masks()
    layout = {name: {dim: mask.tolist() for dim, mask in masks[name].items()} for name in masks}
    parts = {
        "layout": layout,
        "ranges": ranges,
        "weights": {name: value.tolist() for name, value in model.named_parameters()},
        "statistics": {
            name: value.tolist() for name, value in model.named_buffers() if "running" in name
        },
    }
    return {
        part: hashlib.sha256(json.dumps(its, sort_keys=True).encode()).hexdigest()
        for part, its in parts.items()
    }


def train(
    controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any = None
) -> float:
    """Each process its own part of a batch; the wrapper is made for the shapes of this epoch."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    images, classes = (part[:TRAINING_IMAGES] for part in digits())
    order = torch.randperm(TRAINING_IMAGES, generator=torch.Generator().manual_seed(epoch))
    order = order[: TRAINING_IMAGES // 4]
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
    world, folder = int(sys.argv[1]), Path(sys.argv[2])
    trained_model()  # once for all processes
    sys.exit(in_forks(world, lambda rank: main(rank, world, folder, sys.argv[3:])))
