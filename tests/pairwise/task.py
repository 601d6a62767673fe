"""A network that trains in a second, on scikit-learn's digits, and a row's config for it."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.pairwise.table import Row
from tests.runners.torch_case import digits

TRAINING = slice(0, 320)
VALIDATION = slice(1200, 1456)
CONFIRMATION = slice(1456, 1584)
BATCH = 32
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Residual(nn.Module):
    """(N, 1, 8, 8) images -> (N, 10) logits, with an addition on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.branch = nn.Sequential(
            nn.Conv2d(16, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 16, 1, bias=False), nn.BatchNorm2d(16),
        )  # fmt: skip
        self.classifier = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        features = torch.relu(features + self.branch(features))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def part(which: slice) -> TensorDataset:
    images, classes = digits()
    return TensorDataset(images[which], classes[which])


@cache
def _trained() -> Residual:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        images, classes = (values[: VALIDATION.start] for values in digits())
        for _ in range(12):
            for batch in torch.randperm(len(images)).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[batch]), classes[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return model


def trained() -> Residual:
    """A copy of the dense network."""
    return copy.deepcopy(_trained())


def forward_in(precision: str) -> AbstractContextManager[object]:
    """For a forward and its loss, as users write it whose training is in mixed precision."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed")


def settings(row: Row) -> dict[str, Any]:
    """The row's config; what is a form's own (plugin, batch_size, num_workers) isn't in it."""
    early = row["mode"] == "early_exit"
    params: dict[str, Any] = {
        "maximal_absolute_accuracy_degradation": 0.5 if early else 60.0,
        "maximal_total_epochs": 3,
        "weight_averaging": row["averaging"],
    }
    if row["confirmation"] == "kept back":
        # Only datasets can be split by accaware; who makes loaders brings a third one.
        own = row["form"] in ("own training", "script")
        params["confirmation"] = {} if own else {"fraction": 0.5}
    if not early:
        params |= {"initial_training_phase_epochs": 2, "patience_epochs": 1}
    return {
        "device": "cpu",
        "accuracy_aware_training": {
            "mode": "early_exit" if early else "adaptive_compression_level",
            "params": params,
        },
        "compression": _mix(row),
    }


def _mix(row: Row) -> list[dict[str, Any]]:
    adapted = {"num_bn_adaptation_samples": 48 if row["norms"] == "adapted" else 0}
    initializer: dict[str, Any] = {"batchnorm_adaptation": adapted}
    per_step = row["schedule"] == "per step"
    every: dict[str, dict[str, Any]] = {
        "pruning": {
            "algorithm": "filter_pruning",
            "initializer": initializer,
            "params": {
                "schedule": "exponential",
                "pruning_target": 0.4,
                "pruning_steps": 2,
                "prune_first_conv": True,
                "prune_downsample_convs": True,
            },
        },
        "sparsity": {
            "algorithm": "magnitude_sparsity",
            "initializer": initializer,
            "params": {
                "sparsity_target": 0.5,
                "sparsity_target_epoch": 1,
                "sparsity_freeze_epoch": 2,
                **({"update_per_optimizer_step": True} if per_step else {}),
            },
        },
        "quantization": {
            "algorithm": "quantization",
            "initializer": {**initializer, "range": {"num_init_samples": 64}},
        },
    }
    every["2:4 sparsity"] = {
        "algorithm": "magnitude_sparsity",
        "initializer": initializer,
        "params": {"sparsity_pattern": "2:4"},
    }
    if row["mix"] == "quantization":
        # So coarse that the model isn't within budget before it was trained.
        every["quantization"] |= {"weights": {"bits": 2}}
    sections = [every[name] for name in row["mix"].split("+")]
    if row["schedule"] == "per step" and "sparsity" not in row["mix"]:
        sections[0]["params"] = {**sections[0].get("params", {}), "update_per_optimizer_step": True}
    if row["reconstruction"] == "least squares":
        sections[0]["params"] = {**sections[0].get("params", {}), "reconstruction_samples": 48}
    if row["teacher"] == "untouched":
        teaching = {"algorithm": "knowledge_distillation", "type": "softmax", "temperature": 2}
        sections.append(teaching)
    return sections
