"""A model that is shown training samples and learns nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from accaware.pytorch.data.batches import inputs_of, to_device
from accaware.pytorch.data.loaders import begun
from accaware.pytorch.model.inputs import ExampleInputs, batch_size_of
from accaware.pytorch.model.wrappers import eagerly


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module evaluates, uncompiled and without gradients; afterwards it is in its mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), eagerly():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def first_samples(
    batches: Iterable[Any],
    samples: int,
    model: nn.Module,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[ExampleInputs, int]]:
    """The model's inputs, batch by batch, and how many samples each has.

    Args:
        batches: the inputs are the batch, its first element, or its values.
        samples: stop once this many were seen.
        after_batch: told how many samples were seen so far.
    """
    seen = 0
    for batch in begun(batches if samples > 0 else ()):
        size = batch_size_of(batch)
        yield inputs_of(to_device(batch, device), model), size
        seen += size
        after_batch(min(seen, samples))
        if seen >= samples:
            return
