"""Data loaders: made from datasets, moved to the device, and watched."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from accaware.pytorch.data.batches import to_device
from accaware.pytorch.distributed.agreement import is_one_of_several, processes, rank


class LoaderProxy:
    """In the place of a data loader, to give its batches in some other way.

    All else (``dataset``, ``batch_size``, ``sampler``) is the loader's own.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # asked for by copy and pickle before it is there
            raise AttributeError(name)
        return getattr(self._loader, name)


def begun(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a data loader, whose workers don't hear of Ctrl-C.

    It reaches all processes of a terminal, and each worker would print a traceback. The process
    that they work for hears of it, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        return iter(loader)  # Windows
    # A loader starts its workers here, and what they begin with they keep. Here a signal waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DeviceLoader(LoaderProxy):
    """A data loader whose batches come on the model's device, and are counted as they go.

    Args:
        after_batch: told (done, total) as each batch is asked for; total is None where the
            loader has no length.
        clock: seconds, from whenever.

    Attributes:
        waited: of the last time through all batches, the seconds in which nothing but the next
            batch was waited for.
        taken: all of its seconds.
    """

    def __init__(
        self,
        loader: Any,
        device: torch.device,
        after_batch: Callable[[int, int | None], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(loader)
        self._device = device
        self._after_batch = after_batch
        self._clock = clock
        self.waited = self.taken = 0.0

    @property
    def unwatched(self) -> Any:
        """The data loader itself."""
        return self._loader

    def __iter__(self) -> Iterator[Any]:
        try:
            total = len(self._loader)
        except TypeError:
            total = None
        done, waited, began = 0, 0.0, self._clock()
        batches = begun(self._loader)
        while True:
            asked = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                self.waited, self.taken = waited, self._clock() - began
                return
            except RuntimeError:
                # A signal that asks to stop may have ended the workers too. Then this is where
                # whoever is told of batches says so, and nothing has failed.
                self._after_batch(done, total)
                raise
            waited += self._clock() - asked
            yield to_device(batch, self._device)
            done += 1
            self._after_batch(done, total)


class FewBatches(LoaderProxy):
    """So many batches of a data loader, which is begun again where it has fewer."""

    def __init__(self, loader: Any, count: int) -> None:
        super().__init__(loader)
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        left = self._count
        while left:
            before = left
            for batch in islice(begun(self._loader), left):
                yield batch
                left -= 1
            if left == before:
                return  # it has none

    def __len__(self) -> int:
        return self._count


def make_loader(
    dataset: Any, *, batch_size: int, num_workers: int, train: bool, seed: int, device: torch.device
) -> DataLoader[Any]:
    """A loader over a dataset; training data is shuffled, in an order that the seed fixes.

    Of several processes each trains on a share of its own, as many batches as the others. A last
    training batch of a single sample is left out: batch norm can't train on it.
    """
    sized = not isinstance(dataset, IterableDataset)
    shared_out = train and sized and is_one_of_several()
    samples = -(-len(dataset) // (processes() if shared_out else 1)) if sized else 0
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=train and sized and not shared_out,
        sampler=DistributedSampler(dataset, seed=seed) if shared_out else None,
        drop_last=train and samples > batch_size and samples % batch_size == 1,
        num_workers=num_workers,
        pin_memory=device.type == "cuda",
        # Workers that outlive an epoch have random states that nobody can keep for a resume;
        # fresh ones are seeded from the loader's generator.
        persistent_workers=False,
        # No two processes augment their samples alike.
        generator=torch.Generator().manual_seed(seed + rank()),
        worker_init_fn=_seed_worker,
    )


def _seed_worker(worker: int) -> None:
    """Python's and NumPy's generators follow torch's, which the loader seeds."""
    seed_others(torch.initial_seed() % 2**32)


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), Python and, where it is installed, NumPy."""
    torch.manual_seed(seed)
    seed_others(seed)


def seed_others(seed: int) -> None:
    """Seed Python's generator, and NumPy's where it is installed."""
    random.seed(seed)
    try:
        import numpy
    except ImportError:
        return
    numpy.random.seed(seed)
