"""What ``accaware init`` writes can be used: ``validate-config --check-plugin`` accepts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from accaware.cli.app import app
from accaware.config.load import AccAwareConfig
from tests.e2e.conftest import Accaware


@pytest.fixture
def accepted(accaware: Accaware) -> Callable[..., AccAwareConfig]:
    """``accepted("new")``: the config in that folder, once its plugin was checked."""

    def accepted(folder: str) -> AccAwareConfig:
        file = Path(folder, "config.json")
        done = accaware("validate-config", file, "--check-plugin")
        assert (done.exit_code, done.output) == (0, f"{file}: ok\n")
        return AccAwareConfig.from_json(file)

    return accepted


Accepted = Callable[..., AccAwareConfig]


def test_a_plugin_says_what_is_still_a_blank(accaware: Accaware, accepted: Accepted) -> None:
    assert accaware("init", "new", "--from", "plugin").exit_code == 0
    accepted("new")
    done = accaware("run", "new/config.json")
    assert done.exit_code == 1
    assert "NotImplementedError: plugin.py: create_model is still a blank" in done.stderr


def test_a_model_of_torchvision_with_weights_of_ones_own(
    accaware: Accaware, accepted: Accepted, tmp_path: Path
) -> None:
    torch.save({}, tmp_path / "mine.pt")
    options = ("--model", "resnet18", "--weights", "mine.pt", "--dataset", "fake")
    done = accaware("init", "deep/new", "--from", "torchvision", *options)
    assert done.exit_code == 0, done.output
    task = accepted("deep/new").task
    assert task is not None
    # Named from the working directory, and found from the config's.
    assert task.weights is not None
    assert Path(task.weights).resolve() == tmp_path / "mine.pt"
    assert (task.model, task.dataset, task.dataset_dir) == ("resnet18", "fake", None)


def test_names_that_are_nobodys_are_asked_again_and_data_are_fetched_if_wanted(
    accaware: Accaware, accepted: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accaware.cli.init.interview.somebody_is_there", lambda: True)
    typed = "resnet81\npretrained\ncifar11\ndata\nresnet18\ncifar10\n\n\n\n"
    words = ["init", "new", "--from", "torchvision"]
    done: Result = CliRunner().invoke(app, words, input=typed, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "resnet81 is none of torchvision's classifiers; did you mean resnet18" in done.stderr
    assert "cifar11 is none that this tool knows by name; did you mean cifar10" in done.stderr
    assert "Fetch cifar10 into data when the run begins?" in done.stdout
    task = accepted("new").task
    assert task is not None
    assert (task.model, task.dataset, task.download) == ("resnet18", "cifar10", True)
    assert task.pretrained


def test_data_that_are_not_there_are_refused(accaware: Accaware, tmp_path: Path) -> None:
    options = ("--model", "resnet18", "--weights", "pretrained", "--dataset", "cifar10")
    done = accaware("init", "new", "--from", "torchvision", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: --data: cifar10 is not in ")
    assert not (tmp_path / "new").exists()


def test_a_model_of_timm(accaware: Accaware, accepted: Accepted) -> None:
    pytest.importorskip("timm")
    options = ("--model", "resnet18.a1_in1k", "--weights", "pretrained", "--dataset", "fake")
    assert accaware("init", "new", "--from", "timm", *options).exit_code == 0
    task = accepted("new").task
    assert task is not None
    assert task.model == "timm/resnet18.a1_in1k"


def _nncf(path: Path, **keys: Any) -> Path:
    path.write_text(json.dumps({"compression": {"algorithm": "filter_pruning"}, **keys}))
    return path


def test_nncfs_model_is_kept_where_a_library_has_it(
    accaware: Accaware, accepted: Accepted, tmp_path: Path
) -> None:
    old = _nncf(tmp_path / "old.json", model="resnet18", dataset="cifar10", epochs=9)
    done = accaware("init", "new", "--from", "nncf-config", old)
    assert done.exit_code == 2
    assert "--data: is missing: the folder of cifar10" in done.stderr
    done = accaware("init", "new", "--from", "nncf-config", old, "--download")
    assert done.exit_code == 0, done.output
    task = accepted("new").task
    assert task is not None
    assert (task.model, task.dataset, task.download) == ("resnet18", "cifar10", True)
    assert not (tmp_path / "new" / "plugin.py").exists()


def test_paths_of_nncfs_lead_where_they_led(
    accaware: Accaware, accepted: Accepted, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    torch.save({}, there / "mine.pt")
    old = _nncf(there / "old.json", model="resnet18", dataset="fake", weights="mine.pt")
    done = accaware("init", "new", "--from", "nncf-config", old)
    assert done.exit_code == 0, done.output
    assert "changed weights: is the same, from the new file's folder on" in done.stdout
    task = accepted("new").task
    assert task is not None
    assert task.weights is not None
    assert Path(task.weights).resolve() == there / "mine.pt"


def test_nncfs_model_is_a_plugins_where_no_library_has_it(
    accaware: Accaware, accepted: Accepted, tmp_path: Path
) -> None:
    shape = {"sample_size": [1, 3, 512, 1024]}
    old = _nncf(tmp_path / "old.json", model="unet", dataset="mapillary", input_info=shape)
    done = accaware("init", "new", "--from", "nncf-config", old)
    assert done.exit_code == 0, done.output
    why = "is the plugin's to say: unet is none of torchvision's classifiers"
    assert f"dropped model, dataset: {why}" in done.stdout
    config = accepted("new")
    assert config.task is None
    assert config.input_info[0].sample_size == (1, 3, 512, 1024)
