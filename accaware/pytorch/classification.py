"""The training that a plugin gets where it brings none of its own: classification."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.pytorch.batches import inputs_of, targets_of

Loss = Callable[[Any, Any], Tensor]


class Compression(Protocol):
    """The part of the compression that training meets."""

    def step(self) -> None:
        """Once after each optimizer step."""

    def loss(self) -> Tensor:
        """A term to add to the loss; zero where the algorithm has none."""


def cross_entropy(outputs: Any, targets: Tensor) -> Tensor:
    """Mean cross entropy of (N, K) logits and (N,) classes."""
    return nn.functional.cross_entropy(logits_of(outputs), targets)


def logits_of(outputs: Any) -> Tensor:
    """The (N, K) logits; of a model with auxiliary heads, the main head's.

    Raises:
        TypeError: the outputs are none.
    """
    main = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
    if isinstance(main, Tensor) and main.dim() == 2:
        return main
    raise TypeError(
        "the default training is for classification and needs (N, classes) outputs; this model "
        "needs a train_epoch and a validate of the plugin's own"
    )


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: Optimizer,
    compression: Compression,
    loss_of: Loss = cross_entropy,
) -> float:
    """One pass over the training data; the mean loss, weighted by batch size.

    A loss that isn't finite ends the epoch at once: the model is beyond repair.
    """
    model.train()
    total, samples = torch.zeros((), dtype=torch.float64), 0
    for batch in loader:
        targets = targets_of(batch)
        loss = loss_of(inputs_of(batch).call(model), targets) + compression.loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        compression.step()
        value = loss.detach().cpu().double()
        if not math.isfinite(value):
            return float(value)
        total += value * len(targets)
        samples += len(targets)
    return float(total) / samples if samples else math.nan


def validate(model: nn.Module, loader: Iterable[Any]) -> float:
    """Top-1 accuracy in percent."""
    model.eval()
    correct, samples = 0, 0
    with torch.no_grad():
        for batch in loader:
            targets = targets_of(batch)
            predicted = logits_of(inputs_of(batch).call(model)).argmax(dim=1)
            correct += int((predicted == targets).sum())
            samples += len(targets)
    return 100 * correct / samples if samples else math.nan
