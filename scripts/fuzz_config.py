"""20,000 inputs for the config room: never a traceback, never over a second, the right line.

Most are valid configs with one rule broken at a known line; the rest are right, spliced, raw
bytes, or near the largest size. All go through the room in this process, a sample through the
real command. Exit code 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.config.mutants import Mutant, large_mutants, mutants, violation

SLOWEST = 1.0
"""Seconds for one input of at most 64 KiB; a longer one has as much time for each of them."""


def in_process(inputs: list[Mutant]) -> tuple[list[str], float]:
    """What went wrong, and the longest time that an input took."""
    wrong, slowest = [], 0.0
    for number, mutant in enumerate(inputs):
        began = time.process_time()  # of this process alone: others may be busy
        try:
            message = violation(mutant)
        except Exception as error:  # noqa: BLE001 - whatever comes out is what is looked for
            message = f"{mutant.kind}: raised {type(error).__name__}: {error}"
        seconds = time.process_time() - began
        slowest = max(slowest, seconds)
        if seconds > SLOWEST * max(1, len(mutant.raw) / 2**16):
            wrong.append(f"input {number}: {mutant.kind}: took {seconds:.2f} s")
        if message is not None:
            wrong.append(f"input {number}: {message}")
    return wrong, slowest


def by_command(inputs: list[Mutant], folder: Path) -> list[str]:
    """What the command does wrong: alone on each of a few, then on all at once."""
    files = []
    for number, mutant in enumerate(inputs):
        file = folder / f"{number}.json"
        file.write_bytes(mutant.raw)
        files.append(file)
    command = [sys.executable, "-W", "error", "-m", "accaware", "validate-config"]
    calls = [([*command, str(file)], {file}) for file in files[:25]]
    calls.append(([*command, "--format", "json", *map(str, files)], set(files)))
    wrong = []
    for call, named in calls:
        done = subprocess.run(call, capture_output=True, check=False)
        faulty = any(violation(Mutant(file.read_bytes(), "", 0)) for file in named)
        if done.returncode != (2 if faulty else 0):
            wrong.append(f"{call[-1]}: exit code {done.returncode}")
        if b"Traceback" in done.stderr + done.stdout or done.stderr:
            wrong.append(f"{call[-1]}: {done.stderr.decode(errors='replace')[-300:]}")
        if "json" in call:
            json.loads(done.stdout)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    large = list(large_mutants(rng))
    inputs = [*large, *itertools.islice(mutants(rng), max(0, asked.inputs - len(large)))]
    began = time.perf_counter()
    wrong, slowest = in_process(inputs)
    seconds = time.perf_counter() - began
    sample = rng.sample(inputs, min(400, len(inputs)))
    with tempfile.TemporaryDirectory() as folder:
        wrong += by_command(sample, Path(folder))
    for line in wrong[:20]:
        print(line)
    kinds = Counter(mutant.kind.partition(":")[0] for mutant in inputs[len(large) :])
    placed = sum(1 for mutant in inputs if mutant.line)
    print(", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    print(
        f"{len(inputs)} inputs (seed {asked.seed}) in {seconds:.1f} s, {placed} of them with a "
        f"known line, {len(sample)} through the command: {len(wrong)} wrong, "
        f"slowest {slowest:.1f} s (at most 1 s for each 64 KiB)"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
