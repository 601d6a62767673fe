"""Several processes that train one model together, as torchrun starts them.

With a single process nothing here has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor, distributed

T = TypeVar("T")


def is_one_of_several() -> bool:
    """Whether this process is in a group of processes."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def is_first() -> bool:
    """Whether this is the process that decides and writes."""
    return not is_one_of_several() or distributed.get_rank() == 0


def agreed(value: T) -> T:
    """What the first process has here; every process has to ask."""
    if not is_one_of_several():
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box, src=0)
    first: T = box[0]
    return first


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Give each of the tensors the first process's values, in place; as ``agreed``."""
    if is_one_of_several():
        for tensor in tensors:
            distributed.broadcast(tensor.data, src=0)
