"""Being out of memory: an error of its own, whatever it is called where it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from accaware.errors import MemoryShortageError
from accaware.wording import first_line

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
