"""Nothing is left on the CPU where the model is elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typer.testing import CliRunner

from accaware import AccAwareConfig, create_accuracy_aware_training_loop
from accaware.cli.app import app
from accaware.pytorch import (
    RankingCallbacks,
    create_compressed_model,
    export_model,
    load_compressed,
    save_compressed,
)
from tests.pairwise.command import ctrl_c_at
from tests.pairwise.files import written
from tests.pairwise.plugins import configure_optimizers
from tests.pairwise.table import FACTORS
from tests.pairwise.task import BATCH, EXAMPLE, TRAINING, VALIDATION, part, settings, trained
from tests.pytorch.devices.second_device import MixedDevicesError, SecondDevice

MIXES = {
    "pruning": "adaptive",
    "sparsity": "adaptive",
    "pruning+sparsity": "early_exit",
    "pruning+quantization": "adaptive",
    "sparsity+quantization": "adaptive",
    "quantization": "early_exit",
}
PLAIN = {factor: values[0] for factor, values in FACTORS.items()}
PLACE = "mps"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def there(no_inference_runtimes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondDevice]:
    """The device is in the machine, and torch knows of it."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: None)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.zeros(8, dtype=torch.uint8))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: None)
    trained()  # while nobody looks at each of its steps
    torch.manual_seed(0)
    with SecondDevice(PLACE) as device:
        yield device


def images_and_classes(which: slice) -> tuple[Tensor, Tensor]:
    images, classes = part(which).tensors
    return images.to(PLACE), classes.to(PLACE)


def accuracy(model: nn.Module, epoch: int = 0) -> float:
    images, classes = images_and_classes(VALIDATION)
    model.eval()
    with torch.no_grad():
        return 100 * float((model(images).argmax(1) == classes).float().mean())


def train(
    controller: Any, model: nn.Module, *, epoch: int, optimizer: Any, lr_scheduler: Any = None
) -> float:
    model.train()
    images, classes = images_and_classes(TRAINING)
    loss = torch.zeros(())
    for batch in torch.randperm(len(images), device=PLACE).split(BATCH):
        loss = nn.functional.cross_entropy(model(images[batch]), classes[batch])
        loss = loss + controller.loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        controller.scheduler.step()
    return loss.item()


# The device itself -------------------------------------------------------------------------------


def test_the_device_refuses_what_is_left_on_the_cpu(there: SecondDevice) -> None:
    weight = torch.ones(3, device=PLACE)
    left = torch.ones(3)
    assert [weight.device.type, left.device.type] == [PLACE, "cpu"]
    for act in (
        lambda: weight * left,
        lambda: torch.equal(weight, left),
        lambda: weight.mul_(left),
        lambda: torch._foreach_mul_([weight], [left]),
        lambda: torch.cat([weight, left]),
        lambda: torch.where(left > 0, weight, 0.0),
        lambda: weight[torch.tensor([0, 1])],
    ):
        with pytest.raises(MixedDevicesError):
            act()
    assert (weight.to(left) * left).device.type == "cpu"
    assert (weight * left.to(weight.device)).device.type == PLACE
    assert (weight * torch.tensor(2.0)).device.type == PLACE
    assert weight.copy_(left).device.type == PLACE
    assert weight.cpu().device.type == "cpu"
    with pytest.raises(TypeError):
        weight.numpy()


def test_what_is_computed_on_the_device_is_there(there: SecondDevice) -> None:
    model = trained().to(PLACE)
    with pytest.raises(MixedDevicesError):
        model(EXAMPLE)
    outputs = model(EXAMPLE.to(PLACE))
    outputs.sum().backward()
    held = [*model.parameters(), *model.buffers(), outputs]
    held += [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(held) > 20
    assert {tensor.device.type for tensor in held} == {PLACE}


# From Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", MIXES)
def test_a_search_from_python(mix: str, tmp_path: Path, there: SecondDevice) -> None:
    schedule = "per step" if "sparsity" in mix else "per epoch"
    row = {**PLAIN, "mix": mix, "mode": MIXES[mix], "teacher": "untouched", "schedule": schedule}
    if "pruning" in mix:
        row["reconstruction"] = "least squares"
    config = AccAwareConfig.from_dict(settings({**row, "norms": "adapted"}))
    model = trained().to(PLACE)
    # As loaders give them: batches come on the CPU.
    loader = DataLoader(part(TRAINING), BATCH, shuffle=True)
    example = EXAMPLE.to(PLACE)
    controller, _ = create_compressed_model(model, config, example, loader)
    loop = create_accuracy_aware_training_loop(config, controller, accuracy(model))
    loop.run(
        model,
        train_epoch_fn=train,
        validate_fn=accuracy,
        configure_optimizers_fn=lambda: configure_optimizers(model),
    )
    assert loop.result.best is not None
    assert loop.result.epochs > 0
    saved = tmp_path / "model.pt"
    save_compressed(model, controller.algorithm.kept_masks(), saved)
    loaded = load_compressed(saved, trained().to(PLACE))
    images, _ = images_and_classes(VALIDATION)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), model.eval()(images))
    export_model(loaded, example, tmp_path / "state.pt", format="state-dict")


def test_a_learned_ranking(there: SecondDevice) -> None:
    config = settings(PLAIN)
    config["compression"][0]["params"] |= {
        "interlayer_ranking_type": "learned_ranking",
        "legr_params": {"generations": 3, "train_steps": 2},
    }
    model = trained().to(PLACE)
    images, classes = images_and_classes(TRAINING)

    def tune(model: nn.Module, steps: int) -> None:
        loss = nn.functional.cross_entropy(model(images), classes)
        loss.backward()  # type: ignore[no-untyped-call]

    controller, _ = create_compressed_model(
        model,
        AccAwareConfig.from_dict(config),
        EXAMPLE.to(PLACE),
        DataLoader(part(TRAINING), BATCH),
        ranking_callbacks=RankingCallbacks(train_steps_fn=tune, validate_fn=accuracy),
    )
    controller.compression_rate = 0.4
    assert controller.compression_rate > 0.2


# From the command line -----------------------------------------------------------------------


def accaware(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("mix", ["pruning+quantization", "pruning+sparsity"])
def test_a_run_that_is_interrupted_resumed_and_exported(
    mix: str, tmp_path: Path, there: SecondDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    row = {**PLAIN, "mix": mix, "mode": MIXES[mix], "teacher": "untouched", "norms": "adapted"}
    config, directory = written({**row, "form": "class"}, tmp_path), tmp_path / "run"
    with ctrl_c_at(12):
        done = accaware("run", config, "--device", PLACE, "--output-dir", directory)
    assert done.exit_code == 130, done.output
    done = accaware("run", "--resume", directory)
    assert done.exit_code in (0, 3), done.output
    assert json.loads((directory / "manifest.json").read_text())["device"] == PLACE
    done = accaware("export", directory, "--format", "state-dict")
    assert done.exit_code == 0, done.output


def test_an_inspection(
    tmp_path: Path, there: SecondDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    row = {**PLAIN, "mix": "quantization", "mode": "early_exit", "form": "datasets"}
    done = accaware("inspect", written(row, tmp_path), "--device", PLACE, "--json")
    assert done.exit_code == 0, done.output
