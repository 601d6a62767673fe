"""Processes that work together, without the seconds that each would take to import torch."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from torch.distributed import TCPStore

from accaware.config.load import examine_text

TOO_LONG = 400.0
"""Seconds after which a process tells where it is, and ends."""


NEEDED = (
    "accaware.api.run",
    "accaware.cli.next_steps",
    "accaware.cli.output",
    "accaware.pytorch.distributed.agreed_replay",
    "accaware.pytorch.distributed.launch",
    "accaware.pytorch.run",
    "accaware.report.page.page",
    "accaware.rundir.run_record",
    "cattrs",
    "rich._emoji_codes",
    "torch._dynamo",  # torch.optim imports it when the first optimizer is made
    "torch.utils.serialization.config",
)
"""By each run of the command, some of it only once it is on its way."""


def have_ready(modules: Iterable[str] = ()) -> None:
    """Do what every fork would: import these and what runs need, and read the schemas."""
    for module in (*NEEDED, *modules):
        import_module(module)
    examine_text("{}", "no config", Path(), ())
    # Or each would look all of it over for garbage, and get memory of its own for that.
    gc.freeze()


def without_runtimes() -> None:
    """Have runs end without an export to be timed; in PyTorch they call the model a few times."""
    for missing in ("onnx", "onnxruntime", "openvino"):
        sys.modules[missing] = None  # type: ignore[assignment]
    import_module("accaware.pytorch.run")._TIMING_SECONDS = 0.01  # type: ignore[attr-defined]


def in_forks(world: int, main: Callable[[int], None]) -> int:
    """Run ``main(rank)`` in as many forks of this process; 1 if any of them failed, else 0."""
    running = set()
    for rank in range(world):
        process = os.fork()
        if not process:
            _end_after(main, rank)
        running.add(process)
    while running:
        process, status = os.wait()
        running.discard(process)
        if status:
            for other in running:  # which would wait for it
                os.kill(other, signal.SIGKILL)
                os.waitpid(other, 0)
            return 1
    return 0


def in_forks_of_torchrun(world: int, main: Callable[[int], None]) -> int:
    """The same, with what torchrun tells its processes of each other."""
    # torchrun's own process has the store by which they meet.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def told(rank: int) -> None:
        os.environ.update(torchrun_environment(rank, world, store.port))
        main(rank)

    return in_forks(world, told)


def torchrun_environment(rank: int, world: int, port: int) -> dict[str, str]:
    """Of a process on one machine.

    Args:
        port: of the store of torchrun's own process.
    """
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }


def _end_after(main: Callable[[int], None], rank: int) -> None:
    """End this process after ``main``, whatever becomes of it."""
    faulthandler.dump_traceback_later(TOO_LONG, exit=True)
    code = 1
    try:
        main(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        # Not sys.exit: on a busy machine the threads of torch's process group have aborted an
        # interpreter that ended, once in some eighty times.
        os._exit(code)
