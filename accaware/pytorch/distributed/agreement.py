"""Several processes that train one model together, as torchrun starts them.

With a single process nothing here has an effect.
"""

from __future__ import annotations

import os
import pickle
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
    return int(os.environ.get("LOCAL_RANK", "0")) if is_one_of_several() else 0


def local_processes() -> int:
    """How many there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes())) if is_one_of_several() else 1


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
    message = _Message.of(value if is_first() else None)
    distributed.broadcast(message.head, src=0)
    if message.length > _SHORT:
        rest = message.rest(message.length)
        distributed.broadcast(rest, src=0)
        message.end = rest
    first: T = message.value()
    return first


def gathered(value: T) -> list[T]:
    """What each process has here, in their order; every process has to ask."""
    if not is_one_of_several():
        return [value]
    own = _Message.of(value)
    messages = [_Message(torch.empty_like(own.head)) for _ in range(processes())]
    distributed.all_gather([each.head for each in messages], own.head)
    longest = max(each.length for each in messages)
    if longest > _SHORT:
        rest = own.rest(longest)
        ends = [torch.empty_like(rest) for _ in messages]
        distributed.all_gather(ends, rest)
        for message, end in zip(messages, ends, strict=True):
            message.end = end
    return [message.value() for message in messages]


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


class _Message:
    """An object on its way: its length and its first bytes at once, the rest where there is one.

    Nearly all that processes agree on is short, and waiting for the others is what it costs:
    torch's own functions for objects send the length by itself.

    Attributes:
        head: (8 + _SHORT,) uint8, the length and the beginning.
        end: (N,) uint8, of a long one all that is not in the head, and any number of bytes more.
    """

    def __init__(self, head: Tensor, end: Tensor | None = None) -> None:
        self.head = head
        self.end = end

    @classmethod
    def of(cls, value: object) -> _Message:
        """On the device whose tensors the processes can send."""
        content = pickle.dumps(value)
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        head = torch.zeros(_LENGTH + _SHORT, dtype=torch.uint8)
        head[:_LENGTH] = torch.tensor([len(content)]).view(torch.uint8)
        start = data[:_SHORT]
        head[_LENGTH : _LENGTH + len(start)] = start
        device = _sending_device()
        return cls(head.to(device), data[_SHORT:].to(device))

    @property
    def length(self) -> int:
        """Of the whole, in bytes."""
        return int(self.head[:_LENGTH].cpu().view(torch.int64))

    def rest(self, length: int) -> Tensor:
        """What a head has no room for, as long as that of a message of such a length."""
        room = torch.zeros(length - _SHORT, dtype=torch.uint8, device=self.head.device)
        if self.end is not None:
            own = self.end[: len(room)]
            room[: len(own)] = own
        return room

    def value(self) -> Any:
        """What was sent."""
        parts = [self.head[_LENGTH:], *([] if self.end is None else [self.end])]
        return pickle.loads(bytes(torch.cat(parts).cpu().numpy())[: self.length])


_LENGTH = 8
"""Bytes of the number that a message begins with."""
_SHORT = 2048
"""Bytes of a message that is sent at once."""


def _sending_device() -> torch.device:
    """The processor, but for a group of nccl alone, as a script may have made."""
    if "cpu:" in distributed.get_backend_config():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
