"""Models of a library: pruned rightly, or refused with a reason; and all that may follow.

Each is built without weights and loses 30 % of its filters. In double precision it is compared
with a masked reference that knows nothing of how channels were followed: in evaluation, in
training, and at another input size where the dense model takes that. It is trained a step, saved,
loaded, and exported to ONNX and read back; a dense one is made sparse, another is quantized.
Inputs are as small as the architecture allows; FLOPs are those at its own resolution where that is
known. Each model has a process of its own. Seconds are the processor's. Exits with 1 if anything
is wrong, or if fewer are pruned than promised.

    python scripts/coverage.py --library torchvision              # all classifiers
    python scripts/coverage.py --library timm --output timm.jsonl
    python scripts/coverage.py --library timm resnet18 vit_tiny_patch16_224
    python scripts/coverage.py --library transformers --quick     # pruning and its file alone

What the table's columns ask: "eval", "train" and "large": whether compact and masked agree; "step":
whether training gives numbers; "file": whether the loaded model is the same to the bit; "onnx",
"spars", "int8". "ok" is right, "no" refused with a reason, "?" what can't be told, as the dense
model itself doesn't do it, or an ONNX file that takes one batch size. "alone" is the share of the
FLOPs of convolutions and linear layers that can't be pruned; what for is listed in the end.

With --output, a line of JSON is added for each model. Models that are there already aren't
examined again, so that a long run can be cut short, gone on with, and read again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

# Before torch is loaded, here and in the processes that begin as this one's copies.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from library_coverage.candidate import Library
from library_coverage.examination import Examination
from library_coverage.isolation import examined_apart, import_exporter
from library_coverage.row import HEADER, Row
from library_coverage.totals import totals

LIBRARIES = {
    "torchvision": ("torchvision", "Torchvision"),
    "timm": ("timm", "Timm"),
    "transformers": ("transformers", "Transformers"),
    "segmentation-models-pytorch": ("segmentation", "Segmentation"),
    "monai": ("monai", "Monai"),
    "torchaudio": ("torchaudio", "Torchaudio"),
}
WANTED = {"torchvision": 77}
"""How many of all models of a library are pruned at least."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", choices=LIBRARIES, required=True)
    parser.add_argument("names", nargs="*", help="models; the smallest of each family by default")
    parser.add_argument("--quick", action="store_true", help="no ONNX, zeros or quantization")
    parser.add_argument("--output", type=Path, help="a file of JSON lines to add to")
    parser.add_argument("--seconds", type=float, default=900, help="of a model, at most")
    parser.add_argument("--gigabytes", type=float, default=12, help="of a model, at most")
    asked = parser.parse_args()
    module, name = LIBRARIES[asked.library]
    library: Library = getattr(import_module(f"library_coverage.{module}"), name)()

    def examine(name: str, tell: Callable[[Row], None]) -> Row:
        candidate = library.candidate(name)
        return Examination(name, candidate, tell, everything=not asked.quick).run()

    known = _known(asked.output)
    names = asked.names or library.names()
    began = time.perf_counter()
    if not asked.quick:
        import_exporter()
    print(HEADER)
    table = []
    for each in names:
        row = known.get(each)
        if row is None:
            row = examined_apart(each, examine, seconds=asked.seconds, gigabytes=asked.gigabytes)
            _add(asked.output, row.as_dict())
        table.append(row)
        print(row, flush=True)
    print(totals(table, time.perf_counter() - began))
    pruned = sum(row.verdict == "pruned" for row in table)
    too_few = not asked.names and pruned < WANTED.get(asked.library, 0)
    if too_few:
        print(f"fewer than {WANTED[asked.library]} are pruned")
    return 1 if too_few or any(row.faults for row in table) else 0


def _known(file: Path | None) -> dict[str, Row]:
    return {data["name"]: Row.of(data) for data in _lines(file)}


def _lines(file: Path | None) -> list[Mapping[str, object]]:
    if file is None or not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _add(file: Path | None, data: object) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            print(json.dumps(data), file=lines)


if __name__ == "__main__":
    sys.exit(main())
