"""What being able to resume costs the demo: its journal (under 1 %), and its snapshots.

Runs the demo whole, in this process, and adds up the time spent in the journal's methods and in
writing snapshots and checkpoints: two runs, with and without them, differ by more than that from
one minute to the next.
"""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accaware.pytorch.run
from accaware.cli.commands.run import run
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.rundir.journal import Journal

CONFIG = Path(__file__).parent.parent / "configs" / "digits_filter_pruning.json"


def timed(kind: type, *names: str) -> Callable[[], float]:
    """Time these methods of a class from now on; the seconds so far."""
    spent = 0.0

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal spent
            began = time.perf_counter()
            try:
                return method(*arguments, **keywords)
            finally:
                spent += time.perf_counter() - began

        return call

    for name in names:
        setattr(kind, name, wrapped(getattr(kind, name)))
    return lambda: spent


def main() -> None:
    assert accaware.pytorch.run  # imported before the clock starts
    journal = timed(Journal, "notify", "answer", "run_started")
    snapshots = timed(TorchSnapshots, "save", "discard")
    checkpoints = timed(TorchRunner, "save", "load", "discard")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run(CONFIG, output_dir=Path(folder) / "run")
        wall = time.perf_counter() - began
        lines = (Path(folder) / "run" / "events.jsonl").read_text().splitlines()
    taken = sum('"event": "snapshot"' in line for line in lines)
    print(
        f"journal: {journal():.3f} s of {wall:.1f} s, {journal() / wall:.2%} (under 1 %), "
        f"{len(lines)} lines"
    )
    print(
        f"snapshots: {snapshots():.3f} s, {snapshots() / wall:.2%}, {taken} of them, "
        f"{1e3 * snapshots() / taken:.1f} ms each"
    )
    print(f"checkpoints of the search itself: {checkpoints():.3f} s, {checkpoints() / wall:.2%}")


if __name__ == "__main__":
    main()
