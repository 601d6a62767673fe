"""A model in a process of its own, which gives all memory back, and whose end ends nothing else."""

from __future__ import annotations

import functools
import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable
from typing import Any

from library_coverage.row import Row

_GIBI = 2**30
_Examine = Callable[[str, Callable[[Row], None]], Row]


def import_exporter() -> None:
    """What the process of each model would import and read for itself, in this one's memory."""
    import torch._dynamo
    import torch.distributed.tensor  # noqa: F401
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    # The source of all operators, which takes longer than a small model's export.
    read = functools.cache(ONNXRegistry.from_torchlib)
    ONNXRegistry.from_torchlib = staticmethod(read)  # type: ignore[method-assign]
    read()


def examined_apart(name: str, examine: _Examine, *, seconds: float, gigabytes: float) -> Row:
    """What is known of a model when its process ends, by itself or at one of the limits."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_examine, args=(name, examine, theirs, gigabytes))
    process.start()
    theirs.close()
    row, ends = Row(name), time.monotonic() + seconds
    try:
        while mine.poll(max(0.0, ends - time.monotonic())):
            row = mine.recv()
        row.ended = f"after {seconds:.0f} s"
        process.kill()
    except EOFError:
        process.join()
        if process.exitcode:
            row.ended = f"its process ended with {process.exitcode}"
            row.stages.setdefault("file", f"TRACEBACK: {row.ended}")
    process.join()
    return row


def _examine(name: str, examine: _Examine, pipe: Any, gigabytes: float) -> None:
    if gigabytes:
        limit = int(gigabytes * _GIBI)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    latest = Row(name)

    def tell(row: Row) -> None:
        nonlocal latest
        latest = row
        row.gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        pipe.send(row)

    try:
        tell(examine(name, tell))
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            latest.ended = f"it needs more than {gigabytes:g} GiB"
        else:
            latest.stages["create"] = f"TRACEBACK: {type(error).__name__}: {error}"
            latest.traces["create"] = traceback.format_exc(limit=-8)
        tell(latest)
