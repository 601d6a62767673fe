"""The shares of several processes in one data set."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from accaware.pytorch.distributed.agreement import is_one_of_several


def shard_of(loader: DataLoader[Any]) -> DataLoader[Any] | None:
    """The same loader for this process's share of the samples, in their order.

    All shares are equally long: the first samples may come again in the last ones.

    Returns:
        None where there is but one process, or no telling which samples there are.
    """
    if not is_one_of_several() or isinstance(loader.dataset, IterableDataset):
        return None
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=DistributedSampler(loader.dataset, shuffle=False),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        persistent_workers=False,
        generator=loader.generator,
        worker_init_fn=loader.worker_init_fn,
    )


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
