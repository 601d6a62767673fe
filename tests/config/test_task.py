"""The keys that name a model, a dataset and how to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accaware import AccAwareConfig
from accaware.config.load import examine_file
from accaware.config.model.task import TaskConfig
from tests.config.samples import pruning

KEYS: dict[str, Any] = {
    "model": "resnet18",
    "model_params": {"zero_init_residual": True},
    "pretrained": True,
    "num_classes": 7,
    "dataset": "cifar10",
    "criterion": "cross_entropy",
    "criterion_params": {"label_smoothing": 0.1},
    "mixed_precision": True,
    "compile": True,
    "channels_last": True,
    "download": True,
}


def test_the_keys_stand_at_the_top() -> None:
    assert AccAwareConfig.from_dict(pruning() | KEYS).task == TaskConfig(**KEYS)


def test_without_any_of_them_there_is_no_task() -> None:
    config = AccAwareConfig.from_dict(pruning())
    assert config.task is None
    assert config.to_dict().keys().isdisjoint(KEYS)


def test_a_resolved_config_has_them_all_and_gives_the_same_task() -> None:
    config = AccAwareConfig.from_dict(pruning() | {"model": "resnet18", "dataset_dir": "/data"})
    resolved = config.to_dict()
    assert resolved["dataset"] == "imagenet"
    assert resolved["mixed_precision"] is False
    assert AccAwareConfig.from_dict(resolved).task == config.task


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("dataset_dir", "data", "{folder}/data"),
        ("dataset_dir", "/data", "/data"),
        ("dataset_dir", "~/data", "{home}/data"),
        ("weights", "best.pth", "{folder}/best.pth"),
        ("weights", "~/best.pth", "{home}/best.pth"),
        ("weights", "http://there/best.pth", "http://there/best.pth"),
        ("weights", "DEFAULT", "DEFAULT"),
        ("weights", "ResNet18_Weights.IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"),
    ],
)
def test_paths_start_at_the_configs_folder(
    tmp_path: Path, key: str, written: str, read: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(pruning() | {key: written}))
    expected = read.format(folder=tmp_path, home=Path.home())
    assert getattr(AccAwareConfig.from_json(file).task, key) == expected


def test_workers_are_num_workers() -> None:
    assert AccAwareConfig.from_dict(pruning() | {"workers": 3}).num_workers == 3


def test_wrong_types_are_faults_all_at_once(check: Any) -> None:
    wrong = {"model": 3, "pretrained": "yes", "num_classes": 0, "dataset": [], "compile": 1}
    assert {one.path for one in check(pruning() | wrong)} == set(wrong)


def test_errors_found_out_elsewhere_have_their_places(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{\n  "model": "x",\n  "dataset": "y"\n}')
    outcome = examine_file(file).refused(("model", "is none"), ("dataset", "is none either"))
    found = [(one.path, one.line) for one in outcome.diagnostics if "none" in one.message]
    assert found == [("model", 2), ("dataset", 3)]
