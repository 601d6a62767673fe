"""A sample of the training data, drawn so that the training never hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any

import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
)

from accaware.plugins.plugin import guarded
from accaware.pytorch.data.batches import first_sample
from accaware.pytorch.data.random_state import repeatable
from accaware.pytorch.model.inputs import ExampleInputs

_BY_NUMBER = (SequentialSampler, RandomSampler, DistributedSampler)
"""Samplers whose data sets have a sample 0."""


def training_sample(loader: Any, model: nn.Module, device: torch.device) -> ExampleInputs | None:
    """The first sample's inputs, a batch of 1, the same ones each time.

    The data set is asked for it, and not the loader, its sampler or its workers, whose next
    epoch would be another one; random numbers go on as if nobody had drawn any.

    Returns:
        None where a loader can't be passed by like that.

    Raises:
        PluginFailure: the data raised.
    """
    with repeatable(0, device):
        batch = guarded("the training data", _first_batch, loader)
    return None if batch is None else first_sample(batch, model).on(device)


def _first_batch(loader: Any) -> Any:
    if isinstance(loader, Sequence) and not isinstance(loader, str):
        return loader[0] if len(loader) else None
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "__getitem__"):
        return None
    batches = loader.batch_sampler
    if type(loader.sampler) not in _BY_NUMBER or type(batches) not in (BatchSampler, NoneType):
        return None
    if batches is None:
        sample: Any = loader.dataset[0]
        return loader.collate_fn(sample)
    if hasattr(loader.dataset, "__getitems__"):
        return loader.collate_fn(loader.dataset.__getitems__([0]))
    return loader.collate_fn([loader.dataset[0]])
