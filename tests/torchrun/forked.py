"""accaware run in several processes, as torchrun would start them: forks of one that has torch.

    python -m tests.torchrun.forked CASES.json

A case has a folder, a number of processes, the arguments of the command, and the modules that its
processes have from the one that is forked. What the processes printed goes to FOLDER/out-RANK and
FOLDER/err-RANK; how they ended to FOLDER/codes.json.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from accaware.cli.commands.run import run
from accaware.cli.errors import reported
from tests.runners.forks import have_ready, torchrun_environment, without_runtimes

TOO_LONG = 90.0
"""Seconds after which a process tells where it is, and ends."""

_stores: list[TCPStore] = []


def start(case: dict[str, Any]) -> list[int]:
    """The processes' ids, in the order of their ranks."""
    # torchrun's own process has the store by which they meet.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    _stores.append(store)
    return [_fork(case, rank, store.port) for rank in range(case.get("world", 2))]


def ended(processes: list[int]) -> list[int]:
    """Their exit codes, negative for a signal; nobody ends those that are left, as it would."""
    codes = dict.fromkeys(processes, 0)
    for process in processes:
        codes[process] = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return list(codes.values())


def _fork(case: dict[str, Any], rank: int, port: int) -> int:
    process = os.fork()
    if process:
        return process
    faulthandler.dump_traceback_later(TOO_LONG, exit=True)
    world = case.get("world", 2)
    os.environ.update(torchrun_environment(rank, world, port))
    os.environ.update(case.get("environment", {}))
    folder = Path(case["folder"])
    os.chdir(folder)
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream)
    code = 70
    try:
        arguments = dict(case["run"])
        for key in ("config", "output_dir", "resume"):
            if arguments.get(key):
                arguments[key] = Path(arguments[key])
        code = int(reported(partial(run, **arguments)))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(cases: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    # Most of their time passes in sleep.
    slow = [(case, start(case)) for case in cases if case.get("meanwhile")]
    for case in cases:
        if not case.get("meanwhile"):
            began = time.perf_counter()
            note(case, ended(start(case)))
            print(case["name"], f"{time.perf_counter() - began:.1f} s", flush=True)
    for case, processes in slow:
        note(case, ended(processes))


def note(case: dict[str, Any], codes: list[int]) -> None:
    """How the processes ended, and what the journal is now."""
    folder, name = Path(case["folder"]), case["name"]
    (folder / f"ended-{name}.json").write_text(json.dumps(codes))
    journal = folder / "run" / "events.jsonl"
    if journal.exists():  # which loses its end where the run goes on
        shutil.copy(journal, folder / f"events-{name}.jsonl")


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    imports = [name for case in cases for name in case["imports"]]
    without_runtimes()
    have_ready(["tests.torchrun.plugins", *imports])
    main(cases)
