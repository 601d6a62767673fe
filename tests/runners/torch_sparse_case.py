"""The network of tests.runners.torch_case with magnitude sparsity."""

from __future__ import annotations

import torch
from torch import nn

from tests.runners.base import Case
from tests.runners.torch_case import case_of

WEIGHTS = 16 * 9 + 24 * 16 * 9 + 10 * 24


def make_case() -> Case:
    compression = {
        "algorithm": "magnitude_sparsity",
        "params": {
            "sparsity_target": 0.5,
            "sparsity_target_epoch": 1,
            "sparsity_freeze_epoch": 3,
        },
    }

    def zeros(model: nn.Module) -> float:
        weights = [
            part.weight for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))
        ]
        nonzero = sum(int(torch.count_nonzero(weight)) for weight in weights)
        return 1 - nonzero / WEIGHTS

    return case_of(compression, zeros, closeness=1 / WEIGHTS)
