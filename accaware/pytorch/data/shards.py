"""The shares of several processes in one data set."""

from __future__ import annotations

from types import NoneType
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from accaware.pytorch.distributed.agreement import is_one_of_several


def shard_of(loader: Any, *, seed: int = 0) -> DataLoader[Any] | None:
    """The same loader for this process's share of the samples: in their order, if it keeps that.

    All shares are equally long: the first samples may come again in the last ones.

    Args:
        seed: of the order, where the loader draws one.

    Returns:
        None where there is but one process, or the loader chooses its samples in a way of its own.
    """
    if not is_one_of_several() or not _takes_all(loader):
        return None
    shuffle = isinstance(loader.sampler, RandomSampler)
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=DistributedSampler(loader.dataset, shuffle=shuffle, seed=seed),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        pin_memory_device=loader.pin_memory_device,
        in_order=loader.in_order,
    )


def _takes_all(loader: Any) -> bool:
    """Whether it is torch's own loader, and gives each sample of a data set once."""
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset):
        return False
    if type(loader.batch_sampler) not in (BatchSampler, NoneType):
        return False
    sampler: Any = loader.sampler
    if type(sampler) is RandomSampler:
        return not sampler.replacement and len(sampler) == len(sampler.data_source)
    return type(sampler) is SequentialSampler


def sampler_of(loader: Any) -> DistributedSampler[Any] | None:
    """What gives this process its share alone, be it within a batch sampler; None without."""
    samplers = (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    found = (*samplers, getattr(samplers[1], "sampler", None))
    return next((each for each in found if isinstance(each, DistributedSampler)), None)


def is_shard(loader: Any) -> bool:
    """Whether a loader gives this process its share alone."""
    return sampler_of(loader) is not None


def begin_epoch(loader: Any, epoch: int) -> None:
    """Let a loader that shares samples out draw the order of this epoch.

    Args:
        epoch: counts from 0, over a whole run.
    """
    sampler = sampler_of(loader)
    if sampler is not None:
        sampler.set_epoch(epoch)
