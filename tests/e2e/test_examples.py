"""Each recipe in examples/ runs as it is, made short: fewer data and epochs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import accaware
from accaware.config.load import examine_file

pytestmark = [
    pytest.mark.usefixtures("no_inference_runtimes"),
    # Of so few data.
    pytest.mark.filterwarnings("ignore:the budget is:accaware.errors.AccAwareWarning"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/config.json"))
SMALLER: dict[str, dict[str, Any]] = {
    "detection": {"images": 9, "epochs": 1, "side": 48},
    "segmentation": {"images": 48, "epochs": 1},
    "speech_commands": {"words": 60, "epochs": 1, "width": 8},
    "super_resolution": {"width": 8, "epochs": 1},
    "tabular": {"width": 16, "epochs": 1},
    "text_classification": {"texts": 120, "epochs": 1, "hidden": 32},
}


@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str, tmp_path: Path) -> None:
    if name == "detection":
        pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
        pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    changes = {f"plugin_args.{key}": value for key, value in SMALLER[name].items()}
    changes |= {"device": "cpu", "accuracy_aware_training.params.maximal_total_epochs": 2}
    if name == "detection":
        changes["accuracy_aware_training.params.initial_training_phase_epochs"] = 1
    result = accaware.run(
        EXAMPLES / name / "config.json", overrides=changes, output_dir=tmp_path / "run"
    )
    assert result.best is not None
    assert result.best.compression_rate > 0.05
    assert result.model_path.is_file()


@pytest.mark.parametrize("name", NAMES)
def test_says_nothing_that_has_no_effect(name: str) -> None:
    assert not examine_file(EXAMPLES / name / "config.json").diagnostics


@pytest.mark.parametrize("name", NAMES)
def test_is_short(name: str) -> None:
    assert len((EXAMPLES / name / "plugin.py").read_text().splitlines()) <= 60


def test_each_is_in_the_list() -> None:
    listed = re.findall(r"\]\((\w+)/\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == NAMES
    assert {each for each in os.listdir(EXAMPLES) if not each.startswith("_")} == {
        *NAMES,
        "README.md",
    }
