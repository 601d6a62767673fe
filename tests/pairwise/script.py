"""A training script of a user's, in one process or in several that torchrun would start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from accaware import AccAwareConfig, create_accuracy_aware_training_loop
from accaware.pytorch import create_compressed_model, export_model, save_compressed
from tests.pairwise import plugins
from tests.pairwise.handed_over import check_exported, check_loads
from tests.pairwise.table import Row
from tests.pairwise.task import (
    BATCH,
    CONFIRMATION,
    EXAMPLE,
    TRAINING,
    VALIDATION,
    forward_in,
    part,
    settings,
    trained,
)


def run(row: Row, folder: Path) -> dict[str, Any]:
    """Compress, save, export and compare; what every process must end with."""
    torch.manual_seed(0)
    several = distributed.is_initialized()
    rank = distributed.get_rank() if several else 0
    model = trained()
    config = AccAwareConfig.from_dict(settings(row))
    data, workers = part(TRAINING), int(row["workers"])
    shard = DistributedSampler(data) if several else None
    loader = DataLoader(data, BATCH, shuffle=not several, sampler=shard, num_workers=workers)
    validation = DataLoader(part(VALIDATION), 128, num_workers=workers)

    def validate(model: nn.Module, epoch: int = 0) -> float:
        return float(plugins.validate(model, validation, row["precision"]))

    def train(
        controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any = None
    ) -> float:
        if shard is not None:
            shard.set_epoch(epoch)
        wrapped = nn.parallel.DistributedDataParallel(model) if several else model
        wrapped.train()
        loss = torch.zeros(())
        for images, classes in loader:
            with forward_in(row["precision"]):
                loss = nn.functional.cross_entropy(wrapped(images), classes) + controller.loss()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            controller.scheduler.step()
        return loss.item()

    kept = DataLoader(part(CONFIRMATION), 128, num_workers=workers)

    def confirm(model: nn.Module) -> float:
        return float(plugins.validate(model, kept, row["precision"]))

    confirms = row["confirmation"] == "kept back"
    baseline, kept_back = validate(model), confirm(model) if confirms else None
    controller, _ = create_compressed_model(model, config, EXAMPLE, loader)
    loop = create_accuracy_aware_training_loop(
        config, controller, baseline, confirmation_baseline=kept_back
    )
    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=validate,
        configure_optimizers_fn=lambda: plugins.configure_optimizers(model),
        log_dir=str(folder / f"log-{rank}"),
        confirm_fn=confirm if confirms else None,
    )
    result = loop.result
    assert result.best is not None
    assert result.epochs > 0
    assert (result.confirmation is not None) == confirms
    if rank == 0:
        saved = folder / "model.pt"
        save_compressed(model, controller.algorithm.kept_masks(), saved)
        exported = folder / "exported"
        export_model(model, EXAMPLE, exported.with_suffix(".xml"), format=row["format"])
        images = part(VALIDATION).tensors[0]
        check_loads(saved, trained(), model, images)
        rounds = "quantization" in row["mix"]
        check_exported(exported.with_suffix(".xml"), row["format"], model, images, rounds=rounds)
    return {
        "metric": result.best.metric,
        "rate": controller.compression_rate,
        "quantizers": [each.to_str() for each in controller.quantizers()],
        "model": {name: value.tolist() for name, value in model.state_dict().items()},
    }
