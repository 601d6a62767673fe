"""The device that a model is on: its name, its hardware, and being out of its memory."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def hardware_of(device: torch.device) -> str:
    """What computes there: the GPU's name and number, else the processor's model.

    On the CPU with the number of torch's threads, which share sums out and so decide how these are
    rounded.
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"{torch.cuda.get_device_name(index)} (cuda:{index})"
    if device.type != "cpu":
        return _processor()
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}"


def _processor() -> str:
    """The CPU's model, or its architecture where the system tells no more."""
    try:
        # Elsewhere than on Linux there is no such file, and for some CPUs no such line in it.
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


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
