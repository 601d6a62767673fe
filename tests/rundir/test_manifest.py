"""What a run was made with, and what of it has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accaware.errors import UsageError
from accaware.rundir.manifest import Manifest

PARAMS = {"patience_epochs": 2, "maximal_total_epochs": 9, "lr": 0.1}
MANIFEST = Manifest(
    versions={"accaware": "0.1", "python": "3.11.1", "torch": "2.11"},
    device="cuda",
    hardware="A100 (cuda:0)",
    seed=3,
    config={"accuracy_aware_training": {"params": PARAMS}, "compression": [{"a": 1}]},
    plugin="p.py",
    plugin_digest="abc",
    plugin_commit=None,
)


def changed(**params: Any) -> Manifest:
    training = {"params": {**PARAMS, **params}}
    return replace(MANIFEST, config={**MANIFEST.config, "accuracy_aware_training": training})


def test_it_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    MANIFEST.write(file)
    assert Manifest.read(file) == MANIFEST
    content = json.loads(file.read_text())
    assert content["format"] == "accaware.run"
    assert content["version"] == 2
    assert len(content["config_digest"]) == 64
    changed(lr=0.2).write(file)
    assert json.loads(file.read_text())["config_digest"] != content["config_digest"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    MANIFEST.write(file)
    file.write_text(file.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(UsageError, match="format version 3; this accaware reads up to 2"):
        Manifest.read(file)


def test_a_manifest_without_hardware_differs_by_none(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    MANIFEST.write(file)
    content = json.loads(file.read_text())
    del content["hardware"]
    file.write_text(json.dumps({**content, "version": 1}))
    assert Manifest.read(file) == replace(MANIFEST, hardware=None)
    assert Manifest.read(file).differences(MANIFEST) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": "x"}'])
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(UsageError, match="m: can't be read"):
        Manifest.read(tmp_path / "m")


def test_nothing_has_changed() -> None:
    assert MANIFEST.differences(MANIFEST) == []
    assert MANIFEST.differences(replace(MANIFEST, plugin_commit="abc")) == []


@pytest.mark.parametrize(
    ("now", "text", "safe"),
    [
        (changed(maximal_total_epochs=10), "maximal_total_epochs: 9 when the run b", True),
        (changed(maximal_total_epochs=8), "maximal_total_epochs: 9 when the run b", False),
        (changed(patience_epochs=3), "patience_epochs: 2 when the run began, 3 now", True),
        (changed(patience_epochs=1), "patience_epochs: 2 when the run began, 1 now", False),
        (changed(lr=None), "params.lr: 0.1 when the run began, nothing now", False),
        (changed(new="a"), 'params.new: nothing when the run began, "a" now', False),
        (replace(MANIFEST, device="cpu"), 'the device: "cuda" when the run began', False),
        (
            replace(MANIFEST, hardware="A100 (cuda:1)"),
            'the hardware: "A100 (cuda:0)" when the run began, "A100 (cuda:1)" now',
            True,
        ),
        (replace(MANIFEST, plugin_digest="d"), "the plugin's source (SHA-256): ", False),
        (
            replace(MANIFEST, versions={**MANIFEST.versions, "torch": "2.12"}),
            'the version of torch: "2.11" when the run began, "2.12" now',
            False,
        ),
        (
            replace(MANIFEST, config={**MANIFEST.config, "compression": [{"a": 2}]}),
            "compression.0.a: 1 when the run began, 2 now",
            False,
        ),
        (
            replace(MANIFEST, config={**MANIFEST.config, "compression": []}),
            'compression: [{"a": 1}] when the run began, [] now',
            False,
        ),
    ],
)
def test_each_change_is_told_with_both_values(now: Manifest, text: str, safe: bool) -> None:
    (difference,) = MANIFEST.differences(now)
    assert text in str(difference)
    assert difference.safe is safe
