"""Configs without a plugin, from the command line to the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18
from typer.testing import CliRunner

from accaware import AccAwareConfig
from accaware.cli.app import app
from accaware.pytorch import load_compressed
from accaware.pytorch.builtin.classification import ImageClassification
from tests.e2e.conftest import Run
from tests.pytorch.builtin.conftest import digits, mnist, written  # noqa: F401

# Timing each run's model in a runtime would take longest.
pytestmark = pytest.mark.usefixtures("no_inference_runtimes")

NNCF = Path(__file__).parents[2].parent / "shared" / "nncf-configs"
SAMPLE = "examples__torch__classification__pruning__resnet18_cifar10_accuracy_aware.json"


def invoke(*arguments: object) -> Any:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def trials(directory: Path) -> Any:
    return json.loads((directory / "result.json").read_text())["trials"]


def test_a_run_on_named_data_that_is_disturbed_and_resumed_without_naming_them_again(
    run: Run,
    tmp_path: Path,
    mnist: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = written(tmp_path, dataset="mnist", num_classes=10)
    done = run(file, (), "--data", mnist)
    assert done.code == 0, done.text
    assert "mobilenet_v2 has a stem for small images" in done.text
    assert json.loads((done.directory / "config.json").read_text())["dataset_dir"] == str(mnist)
    model = ImageClassification(
        AccAwareConfig.from_json(done.directory / "config.json")
    ).create_model()
    small = load_compressed(done.directory / "best" / "model.pt", model)
    assert small.eval()(torch.randn(1, 3, 16, 16)).shape == (1, 10)
    undisturbed = trials(done.directory)
    shutil.rmtree(done.directory)

    train, calls = ImageClassification.train_epoch, []

    def fails_once(self: ImageClassification, *arguments: Any) -> float:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("somebody pulled the plug")
        return train(self, *arguments)

    monkeypatch.setattr(ImageClassification, "train_epoch", fails_once)
    assert run(file, (), "--data", mnist).code == 1
    again = invoke("run", "--resume", done.directory, "--download")  # they are there already
    assert again.exit_code == 0, again.output
    assert len(calls) == 3
    assert trials(done.directory) == undisturbed


OWN = """
from torch.nn import functional

from accaware.pytorch.builtin.torchvision import TorchvisionTask


class Own(TorchvisionTask):
    def loss(self, outputs, targets):
        raise SystemError(f"own loss of {outputs.shape[1]} classes")
"""


def test_a_plugin_of_the_users_takes_all_but_one_method(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    done = run(written(tmp_path, plugin="mine.py:Own"))
    assert done.code == 1
    assert "own loss of 4 classes" in done.err
    assert "mine.py" in done.err


def test_a_plugin_that_does_not_take_the_config_is_told_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def create_model(): ...\ndef create_datasets(): ...\n")
    config = written(tmp_path, plugin="mine.py")
    for text in run(config).text, invoke("validate-config", config, "--check-plugin").output:
        for key in ("model", "dataset", "num_classes"):
            line = next(line for line in text.splitlines() if f": warning: {key}: " in line)
            assert "mine.py can't read it, as it isn't a class that takes the config" in line


def test_inspect_without_a_plugin(run: Run, tmp_path: Path) -> None:
    done = invoke("inspect", written(tmp_path, batch_size=64), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["model"] == "MobileNetV2"
    assert found["steps_per_epoch"] == 8


def test_faults_have_their_lines_in_the_config(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path, model="resnet19", dataset="cifar10", epochs=3)
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    done = run(file, (), "--data", tmp_path / "nothing")
    assert done.code == 2
    assert f"{file}:2:2: model: resnet19 is none of torchvision's classifiers" in done.err
    assert f"dataset_dir: cifar10 is not in {tmp_path / 'nothing'}" in done.err
    assert "--download" in done.err
    assert done.err.count("epochs is ignored") == 1
    assert not done.directory.exists()
    checked = invoke("validate-config", file, "--check-plugin", "--data", tmp_path / "nothing")
    assert checked.exit_code == 2
    assert f"{file}:2:2: model: resnet19" in checked.stdout
    assert "dataset_dir: cifar10 is not in" in checked.stdout


def test_weights_that_cannot_be_fetched_leave_nothing_behind(run: Run, tmp_path: Path) -> None:
    done = run(written(tmp_path, weights="http://127.0.0.1:9/w.pth"))
    assert done.code == 2
    assert "error: weights: http://127.0.0.1:9/w.pth can't be fetched" in done.err
    assert not done.directory.exists()


def test_a_config_without_a_search_says_what_to_add(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path)
    data = json.loads(file.read_text())
    del data["accuracy_aware_training"]
    file.write_text(json.dumps(data))
    done = run(file)
    assert done.code == 2
    assert done.err.count("accuracy_aware_training") == 2
    assert 'add "accuracy_aware_training": {"mode": "adaptive_compression_level"' in done.text


@pytest.mark.skipif(not NNCF.is_dir(), reason="NNCF's sample configs are not here")
def test_a_sample_of_nncf_as_it_is_asks_for_its_data_alone(run: Run, tmp_path: Path) -> None:
    done = run(NNCF / SAMPLE, (), "--data", tmp_path)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert f"cifar10 is not in {tmp_path}" in done.err


@pytest.mark.skipif(not NNCF.is_dir(), reason="NNCF's sample configs are not here")
def test_a_sample_of_nncf_from_beginning_to_end(run: Run, tmp_path: Path) -> None:
    """On made-up images of 8 pixels, with weights of a file, for two epochs."""
    weights = tmp_path / "weights.pth"
    torch.save(resnet18(num_classes=10).state_dict(), weights)
    training = {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_relative_accuracy_degradation": 99,
            "initial_training_phase_epochs": 1,
            "patience_epochs": 1,
            "maximal_total_epochs": 2,
        },
    }
    changed = {
        "weights": str(weights),
        "dataset": "fake",
        "input_info.sample_size": [1, 3, 8, 8],
        "device": "cpu",
        "accuracy_aware_training": training,
        "compression.params.pruning_steps": 1,
    }
    done = run(NNCF / SAMPLE, [f"{key}={json.dumps(value)}" for key, value in changed.items()])
    assert done.code in (0, 3), done.text
    assert [trial["epochs"] for trial in done.result["trials"]] == [1, 1]
    assert "resnet18 keeps its own stem" in done.text
