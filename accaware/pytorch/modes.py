"""Training and evaluation modes of a model."""

from __future__ import annotations

from torch import nn


def set_structural_mode(model: nn.Module) -> None:
    """Containers train, layers evaluate.

    Auxiliary heads run in training only, and consume channels as well; batch norm, dropout and
    stochastic depth stay deterministic.
    """
    for module in model.modules():
        module.training = any(True for _ in module.children())
