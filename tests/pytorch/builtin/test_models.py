"""From a model's name to the model, with its weights and a stem that suits its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from accaware.config.model.task import TaskConfig
from accaware.errors import TaskError
from accaware.pytorch.builtin.classification import weights as weights_module
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models.torchvision import TorchvisionModel


def build(size: int = 32, channels: int = 3, classes: int = 5, **keys: Any) -> nn.Module:
    faults = Faults()
    named = TorchvisionModel(TaskConfig(**{"model": "resnet18", **keys}), faults)
    faults.check()
    model = named.build(classes, size, channels).eval()
    with torch.no_grad():
        assert model(torch.randn(2, channels, size, size)).shape == (2, classes)
    return model


SMALL_STEMS = [
    ("resnet18", "maxpool", 32),
    ("densenet121", "features.pool0", 32),
    ("googlenet", "maxpool1", 32),
    ("shufflenet_v2_x0_5", "maxpool", 32),
    ("mobilenet_v2", "features.0", 32),
    ("mobilenet_v3_small", "features.0", 32),
    ("efficientnet_b0", "features.0", 32),
    ("mnasnet0_5", "layers.0", 32),
    ("regnet_y_400mf", "stem", 32),
]


@pytest.mark.parametrize(("name", "layer", "size"), SMALL_STEMS)
def test_a_stem_for_small_images_keeps_their_size(
    name: str, layer: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(model=name, size=size)
    shapes = []
    model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: shapes.append(output.shape[-2:])
    )
    with torch.no_grad():
        model(torch.randn(2, 3, size, size))
    assert shapes == [(size, size)]
    assert f"{name} has a stem for small images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("blocks", "strided"),
    [
        ([[1, 8, 1, 1]], "a first convolution of stride 1"),
        ([[1, 8, 1, 1], [1, 8, 1, 1]], "a first convolution of stride 1"),
        ([[6, 8, 2, 2]], "a first convolution and a second stage of stride 1"),
    ],
)
def test_a_stem_for_a_mobilenet_of_ones_own_blocks(
    blocks: list[list[int]], strided: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(model="mobilenet_v2", model_params={"inverted_residual_setting": blocks})
    convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    assert all(part.stride == (1, 1) for part in convolutions)
    assert strided in capsys.readouterr().out


def test_large_images_keep_the_models_own_stem(capsys: pytest.CaptureFixture[str]) -> None:
    assert build(size=96).conv1.kernel_size == (7, 7)
    said = capsys.readouterr().out
    assert "stem" not in said
    assert "random weights" in said


@pytest.mark.parametrize("name", ["ResNet18_cifar", "resnet18_cifar10", "resnet18_32x32"])
def test_a_name_may_ask_for_such_a_stem(name: str) -> None:
    assert build(model=name, size=96).conv1.kernel_size == (3, 3)


def test_others_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    build(model="squeezenet1_1", size=32)
    assert "squeezenet1_1 has its own stem" in capsys.readouterr().out


def test_a_transformer_is_made_for_the_size() -> None:
    build(model="vit_b_32", size=64)


def test_model_params_reach_the_builder() -> None:
    model = build(model="squeezenet1_1", model_params={"dropout": 0.25}, size=64)
    assert model.classifier[0].p == 0.25


def test_grey_images_give_what_three_equal_channels_give(tmp_path: Path) -> None:
    torch.manual_seed(0)
    colour = models.squeezenet1_1(num_classes=5).eval()
    torch.save(colour.state_dict(), tmp_path / "w.pth")
    state = colour.state_dict()
    state["features.0.weight"] = state["features.0.weight"].sum(1, keepdim=True)
    torch.save(state, tmp_path / "grey.pth")
    grey = build(model="squeezenet1_1", weights=str(tmp_path / "grey.pth"), channels=1, size=64)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey(image), colour(image.expand(1, 3, 64, 64)))


WRONG = [
    ({"model": "resnet81"}, "model", "did you mean resnet18"),
    ({"model": "ssd_vgg"}, "model", "none of torchvision's classifiers"),
    ({"model": None}, "model", "is missing"),
    ({"weights": "IMAGENET21K"}, "weights", "DEFAULT, IMAGENET1K_V1"),
    ({"weights": "ResNet50_Weights.DEFAULT"}, "weights", "for resnet18"),
    ({"weights": "w.pth", "pretrained": True}, "weights", "keep one of the two"),
    ({"model_params": {"widht": 3}}, "model_params", "widht"),
    ({"model_params": {"weights": "DEFAULT"}}, "model_params", "'weights'"),
    ({"model_params": {"name": "resnet"}}, "model_params", "'name'"),
    ({"model": "alexnet"}, "input_info", "alexnet can't take images of 32 pixels"),
    ({"model": "vit_b_32", "size": 50}, "model", "vit_b_32 can't be built"),
]


@pytest.mark.parametrize(("keys", "key", "message"), WRONG)
def test_what_is_not_there_is_told(keys: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        build(**keys)
    ((place, said),) = caught.value.faults
    assert place == key
    assert message in said


def saved(path: Path, model: nn.Module, wrap: Any = lambda state: state) -> str:
    torch.save(wrap(model.state_dict()), path)
    return str(path)


WRAPPINGS = [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
    lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
]


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_weights_of_a_file(tmp_path: Path, wrap: Any) -> None:
    trained = models.shufflenet_v2_x0_5(num_classes=5)
    file = saved(tmp_path / "w.pth", trained, wrap)
    model = build(model="shufflenet_v2_x0_5", weights=file, size=64)
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_the_weights_tell_which_stem_they_were_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = saved(tmp_path / "own.pth", models.resnet18(num_classes=5))
    assert build(weights=own).conv1.kernel_size == (7, 7)
    assert "keeps its own stem" in capsys.readouterr().out
    small = saved(tmp_path / "small.pth", build())
    capsys.readouterr()
    assert build(weights=small).conv1.kernel_size == (3, 3)
    assert build(weights=small, size=224).conv1.kernel_size == (3, 3)
    assert "a stem for small images" in capsys.readouterr().out


def test_a_stem_that_only_the_name_tells(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth", models.mobilenet_v2(num_classes=5))
    assert build(model="mobilenet_v2", weights=file).features[0][0].stride == (2, 2)
    assert build(model="mobilenet_v2_32x32", weights=file).features[0][0].stride == (1, 1)


def test_auxiliary_heads_of_a_file_are_left_out(tmp_path: Path) -> None:
    trained = models.googlenet(num_classes=5, init_weights=False, aux_logits=True)
    file = saved(tmp_path / "w.pth", trained)
    assert build(model="googlenet", weights=file, size=96).aux1 is None


BROKEN = [
    (lambda path: path.write_bytes(b"not a file of torch's"), "can't be read"),
    (lambda path: torch.save([1, 2], path), "holds no state dict, but a list"),
    (lambda path: torch.save(nn.Linear(2, 2), path), "can't be read"),  # would run code
    (lambda path: saved(path, models.resnet18(num_classes=7)), "fc.weight is [7, 512]"),
    (lambda path: saved(path, models.resnet34(num_classes=5)), "none of the model's; and"),
    (lambda path: saved(path, nn.Linear(2, 2)), "conv1.weight is missing"),
]


@pytest.mark.parametrize(("write", "message"), BROKEN)
def test_a_file_that_does_not_fit_says_why(tmp_path: Path, write: Any, message: str) -> None:
    write(tmp_path / "w.pth")
    with pytest.raises(TaskError) as caught:
        build(weights=str(tmp_path / "w.pth"))
    ((key, said),) = caught.value.faults
    assert key == "weights"
    assert message in said


def test_weights_behind_no_network_say_what_to_do() -> None:
    with pytest.raises(TaskError, match="where there is no network, fetch the file elsewhere"):
        build(weights="http://127.0.0.1:9/w.pth")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """SqueezeNet's weights, as if they had been fetched before."""
    torch.manual_seed(3)
    model = models.squeezenet1_1()
    file = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return model


@pytest.mark.parametrize("keys", [{"pretrained": True}, {"weights": "IMAGENET1K_V1"}])
def test_published_weights(published: nn.Module, keys: dict[str, Any]) -> None:
    model = build(model="squeezenet1_1", classes=1000, size=64, **keys)
    for name, value in published.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_another_number_of_classes_gets_a_new_head(
    published: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(model="squeezenet1_1", classes=5, size=64, pretrained=True)
    assert "the last layer is new and untrained" in capsys.readouterr().out
    kept = model.features.state_dict()
    assert all(torch.equal(kept[key], it) for key, it in published.features.state_dict().items())


def test_a_file_that_is_not_there_is_told_early() -> None:
    faults = Faults()
    weights_module.check_weights_file(TaskConfig(weights="/nowhere/w.pth"), faults)
    with pytest.raises(TaskError, match=r"there is no file /nowhere/w\.pth"):
        faults.check()
