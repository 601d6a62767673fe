"""Batch norm statistics for a network that has just lost filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.batches import batch_size_of, inputs_of, to_device
from accaware.pytorch.loaders import begun


def adapt_batchnorm(
    model: nn.Module,
    batches: Iterable[Any],
    samples: int,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda done: None,
) -> None:
    """Re-estimate running means and variances as plain averages over training samples.

    Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning" (2020),
    section 3.3. The variance is the average of the batches' own, each weighted by its samples.
    Nothing but the statistics changes, and every module is left in its mode.

    Args:
        batches: of training data; the inputs are the batch, its first element, or its values.
        samples: stop once this many were seen.
        after_batch: told how many samples were seen so far.
    """
    norms = _with_statistics(model)
    if not norms or samples <= 0:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    try:
        with torch.no_grad():
            for batch in begun(batches):
                size = batch_size_of(batch)
                for norm in norms:
                    norm.momentum = size / (seen + size)
                inputs_of(to_device(batch, device)).call(model)
                seen += size
                after_batch(min(seen, samples))
                if seen >= samples:
                    break
    finally:
        for module, training in modes.items():
            module.training = training
        for norm in norms:
            norm.momentum = momenta[norm]


def statistics_of(model: nn.Module) -> list[Tensor]:
    """The running means and variances of all batch norms."""
    found = [(norm.running_mean, norm.running_var) for norm in _with_statistics(model)]
    return [each for pair in found for each in pair if each is not None]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms normalise by each batch's own statistics, and don't remember them."""
    norms = _with_statistics(model)
    before = [(norm.training, norm.momentum, _count(norm)) for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (training, momentum, tracked) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.fill_(tracked)


def _count(norm: nn.modules.batchnorm._BatchNorm) -> int:
    return 0 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)


def _with_statistics(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
