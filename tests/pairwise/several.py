"""The rows of two processes, each in forks of this one, which has imported what they need.

    python -m tests.pairwise.several FOLDER

The rows that passed are in FOLDER/passed.json.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from accaware.pytorch import export_model
from tests.pairwise import script
from tests.pairwise.command import Launch, accaware, launches, patch_world
from tests.pairwise.files import written
from tests.pairwise.table import Row, name_of, rows
from tests.pairwise.task import trained
from tests.runners.forks import have_ready, in_forks_of_torchrun


def passes(row: Row, folder: Path) -> bool:
    """Whether all that a row's processes do ends well; they tell what doesn't."""
    world = int(row["processes"])
    if row["form"] == "script":
        code = in_forks_of_torchrun(world, partial(by_the_script, row, folder))
        return code == 0 and told(folder, 0) == told(folder, 1)
    written(row, folder)
    for launch in launches(row):
        if in_forks_of_torchrun(world, partial(launched, launch, row, folder)):
            return False
    return True


def launched(launch: Launch, row: Row, folder: Path, rank: int) -> None:
    launch(row, folder)


def by_the_script(row: Row, folder: Path, rank: int) -> None:
    distributed.init_process_group("gloo", timeout=timedelta(minutes=5))
    (folder / f"{rank}.json").write_text(json.dumps(script.run(row, folder)))
    distributed.destroy_process_group()


def told(folder: Path, rank: int) -> str:
    """What every process must end with."""
    return (folder / f"{rank}.json").read_text()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch_world(patch)
        operators = ONNXRegistry.from_torchlib()  # whose source is read each time
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(lambda **_: operators))
        trained()
        # An exporter's first file takes longer than the next ones.
        export_model(nn.Linear(1, 1), torch.zeros(1, 1), folder / "first.onnx")
        accaware("validate", folder / "none.json")  # the parser's own imports
        have_ready(["openvino"])
        passed = []
        for number, row in enumerate(rows()):
            if row["processes"] == "1":
                continue
            place = folder / str(number)
            place.mkdir()
            print(name_of(row), flush=True)
            if passes(row, place):
                passed.append(number)
    (folder / "passed.json").write_text(json.dumps(passed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
