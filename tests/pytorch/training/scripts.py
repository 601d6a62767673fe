"""What a training script of a user's brings: a config, a model and functions, on the digits."""

from __future__ import annotations

from typing import Any

import torch

from accaware import AccAwareConfig
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.runners.torch_case import PRUNING, TinyNet, trained_model

SPARSITY: dict[str, Any] = {
    "algorithm": "magnitude_sparsity",
    "params": {
        "sparsity_target": 0.5,
        "sparsity_target_epoch": 1,
        "sparsity_freeze_epoch": 2,
    },
}
EXAMPLE = torch.zeros(1, 1, 8, 8)


def adaptive(compression: dict[str, Any] = PRUNING, **params: Any) -> AccAwareConfig:
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {
                "mode": "adaptive_compression_level",
                "params": {
                    "maximal_absolute_accuracy_degradation": 0.02,
                    "initial_training_phase_epochs": 2,
                    "patience_epochs": 1,
                    "maximal_total_epochs": 5,
                    **params,
                },
            },
            "compression": compression,
        }
    )


def early_exit(compression: Any = PRUNING, **params: Any) -> AccAwareConfig:
    return AccAwareConfig.from_dict(
        {
            "accuracy_aware_training": {
                "mode": "early_exit",
                "params": {
                    "maximal_absolute_accuracy_degradation": 0.02,
                    "maximal_total_epochs": 6,
                    **params,
                },
            },
            "compression": compression,
        }
    )


def compressed(
    compression: dict[str, Any] = PRUNING, **params: Any
) -> tuple[PTCompressionController, TinyNet]:
    """A controller, and the trained network that it compresses."""
    model = trained_model()
    controller, _ = create_compressed_model(model, adaptive(compression, **params), EXAMPLE)
    return controller, model
