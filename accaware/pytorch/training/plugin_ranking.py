"""Learned ranking by a plugin's own training and validation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from accaware.pytorch.compression.pruning.learned_ranking import RankingCallbacks
from accaware.pytorch.training.returned import optimizer_and_schedule
from accaware.pytorch.training.task import PluginTask
from accaware.search.replay.replay import Replay


def ranking_by_plugin(task: PluginTask, replay: Replay) -> RankingCallbacks:
    """Candidates are trained by the plugin's train_epoch, on an epoch of a few batches.

    Args:
        replay: has the coefficients where a run is gone on with, and records them.
    """

    def train(model: nn.Module, steps: int) -> None:
        optimizer, _ = optimizer_and_schedule(task.configure_optimizers())
        task.train_on(task.few_batches(steps), model, optimizer, IdleCompression(task.device))

    return RankingCallbacks(
        train_steps_fn=train,
        validate_fn=task.validate,
        observers=task.observers,
        parts=(task.state(), task.randomness()),
        remember=lambda search: replay.answer("ranking_coefficients", search),
    )


class IdleCompression:
    """What a train_epoch gets as ``compression`` where nothing is done to its model meanwhile."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def step(self) -> None:
        """Nothing is scheduled."""

    def loss(self) -> Tensor:
        """Zero, as there is nothing to add to the plugin's own loss."""
        return torch.zeros((), device=self._device)
