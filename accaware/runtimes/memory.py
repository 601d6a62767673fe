"""The memory that a model takes, in a process of its own.

Run as a program, this module is that process: it prints the bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from accaware.errors import RunError
from accaware.runtimes import Inputs, Runtime, runtime

_STATUS = Path("/proc/self/status")


def peak_memory(of: Runtime, path: Path, threads: int, inputs: Inputs) -> int | None:
    """What loading a model and one run of it add to a process that has the runtime already.

    Args:
        inputs: by position.

    Returns:
        Bytes of resident memory; None where the system doesn't tell (other than Linux).

    Raises:
        RunError: the process failed.
    """
    if not _STATUS.exists():
        return None
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="accaware-") as folder:
        arrays = Path(folder) / "inputs.npz"
        np.savez(arrays, *(inputs[at] for at in range(len(inputs))))
        here = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            # -P: a file of the user's own in this folder isn't to be taken for a package.
            [sys.executable, "-P", "-m", __name__, of.name, str(path), str(threads), str(arrays)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{of.name} failed in a process of its own: {last}")
    return int(done.stdout)


def _resident(name: str) -> int:
    """VmRSS is what is resident now, VmHWM the most that ever was; in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _main(name: str, path: str, threads: str, arrays: str) -> None:
    import numpy as np

    made = runtime(name)
    with np.load(arrays) as content:
        inputs: Inputs = {at: content[key] for at, key in enumerate(content.files)}
    # Importing the runtime may have peaked higher; not every container allows to forget that.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    made.load(Path(path), int(threads)).run(inputs)
    print(max(_resident("VmHWM") - before, 0))


if __name__ == "__main__":
    _main(*sys.argv[1:])
