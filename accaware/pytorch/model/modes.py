"""Training and evaluation modes of a model."""

from __future__ import annotations

from enum import Enum

from torch import nn


class Mode(Enum):
    """What a model's own forwards do: as in training, or as in evaluation.

    Layers evaluate in both, so that batch norm, dropout and stochastic depth are deterministic;
    what differs is the containers' business, such as auxiliary heads.
    """

    TRAINING = "training"
    EVALUATION = "evaluation"

    def set(self, model: nn.Module) -> None:
        """Put the model into this mode; layers without children evaluate in both."""
        for module in model.modules():
            contains = any(True for _ in module.children())
            module.training = self is Mode.TRAINING and contains
