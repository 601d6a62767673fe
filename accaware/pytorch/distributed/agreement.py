"""Several processes that train one model together, as torchrun starts them.

With a single process nothing here has an effect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")

_by_itself = False


def is_one_of_several() -> bool:
    """Whether this process is in a group of processes."""
    return (
        not _by_itself
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def be_by_itself(yes: bool = True) -> None:
    """From here on this process agrees with nobody, though its group is there; or it does again.

    Where the others may have ended, or have nothing to do, whoever asks them waits for ever.
    """
    global _by_itself
    _by_itself = yes


def rank() -> int:
    """The number of this process, 0 for the first."""
    return distributed.get_rank() if is_one_of_several() else 0


def processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if is_one_of_several() else 1


def is_first() -> bool:
    """Whether this is the process that decides and writes."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def machines_first_processes_first() -> Iterator[None]:
    """The first process of each machine comes in first, the others when all of these are out."""
    if local_rank():
        gathered(None)
    yield
    if not local_rank():
        gathered(None)


def agreed(value: T) -> T:
    """What the first process has here; every process has to ask."""
    if not is_one_of_several():
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box, src=0)
    first: T = box[0]
    return first


def gathered(value: T) -> list[T]:
    """What each process has here, in their order; every process has to ask."""
    if not is_one_of_several():
        return [value]
    values: list[Any] = [None] * processes()
    distributed.all_gather_object(values, value)
    return values


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Give each of the tensors the first process's values, in place; as ``agreed``."""
    if not is_one_of_several():
        return
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device), []).append(tensor.data)
    for group in alike.values():
        # One message: a norm's statistics are small, and there are many of them.
        together = torch.cat([each.reshape(-1) for each in group])
        distributed.broadcast(together, src=0)
        sizes = [each.numel() for each in group]
        parts = torch.split(together, sizes)
        for each, values in zip(group, parts, strict=True):
            each.copy_(values.view_as(each))
