"""The device that a model is on: its name, and being out of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from accaware.errors import MemoryShortageError, UsageError
from accaware.wording import first_line


def named_device(name: str) -> torch.device:
    """The named device, or for "auto" the best that is there.

    Raises:
        UsageError: this machine doesn't have it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    kind, _, index = name.partition(":")
    if not there[kind] or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        have = ", ".join(kind for kind, available in there.items() if available)
        raise UsageError(f"device {name!r} is not available to torch here; there is {have}")
    return torch.device(name)


SMALLER_INPUTS = (
    "Pass smaller example inputs (a batch of 1, smaller images, shorter sequences), or free memory"
)
_SIGNS = (
    "can't allocate memory",  # the CPU's allocator
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says: torch has a type for it on some devices only."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def raise_if_out_of_memory(error: Exception) -> None:
    """For those who take any other exception for an answer.

    Raises:
        Exception: the error itself.
    """
    if is_out_of_memory(error):
        raise error


@contextmanager
def reporting_memory_shortage(task: str, remedy: str) -> Iterator[None]:
    """Within it, running out of memory is reported as an error of the user's.

    Raises:
        MemoryShortageError: there wasn't the memory for the task; it names the remedy.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryShortageError(
            f"out of memory: {task} failed ({first_line(error)}). {remedy}."
        ) from error
