"""Classifiers of timm and transformers by their names, where these are installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from accaware.config.model.task import TaskConfig
from accaware.errors import MissingExtraError, TaskError
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.builtin.classification.faults import Faults
from accaware.pytorch.builtin.classification.models import named_model
from tests.pytorch.builtin.conftest import config

TIMM = "timm/test_byobnet"
TAGGED = f"{TIMM}.r160_in1k"
HF = "hf/resnet"
SMALL = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed")


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> Any:
    # Whatever asks the hub for something fails at once.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers", reason="transformers is not installed")


def build(size: int = 64, channels: int = 3, classes: int = 5, **keys: Any) -> nn.Module:
    faults = Faults()
    named = named_model(TaskConfig(**keys), faults)
    faults.check()
    model = named.build(classes, size, channels).eval()
    assert any(parameter.requires_grad for parameter in model.parameters())
    return model


def only_fault(**keys: Any) -> tuple[str, str]:
    with pytest.raises(TaskError) as caught:
        build(**keys)
    ((key, said),) = caught.value.faults
    return key, said


@pytest.mark.parametrize(
    ("model", "extra"), [("timm/resnet18", "timm"), ("hf/resnet", "transformers")]
)
def test_a_library_that_is_missing_is_named_with_the_way_to_get_it(
    model: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "accaware\[{extra}\]"'):
        ImageClassification(config(model=model, model_params={}))


@pytest.mark.usefixtures("timm")
class TestTimm:
    def test_random_weights_and_params_reach_the_builder(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = build(model=TIMM, model_params={"drop_rate": 0.25}, channels=1)
        assert model(torch.randn(2, 1, 64, 64)).shape == (2, 5)
        assert model.head.drop.p == 0.25
        assert "random weights" in capsys.readouterr().out

    def test_standardised_weights_are_folded(
        self, timm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained = timm.create_model("test_nfnet", num_classes=5).eval()
        path = tmp_path / "weights.pth"
        torch.save(trained.state_dict(), path)
        model = build(model="timm/test_nfnet", weights=str(path))
        assert not any(name.endswith("gain") for name, _ in model.named_parameters())
        images = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(model(images), trained(images), rtol=1e-4, atol=1e-5)
        assert "25 layers that standardise their weights" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("keys", "key", "message"),
        [
            ({"model": "timm/resnet81"}, "model", "did you mean timm/resnet18"),
            ({"model": f"{TIMM}.r160"}, "model", "did you mean r160_in1k?"),
            ({"model": TIMM, "weights": "DEFAULT"}, "weights", "is no file, folder or address"),
            ({"model": TIMM, "weights": "/nowhere"}, "weights", "no file or folder /nowhere"),
            ({"model": TIMM, "weights": "w", "pretrained": True}, "weights", "one of the two"),
            ({"model": TIMM, "model_params": {"widht": 3}}, "model_params", "widht"),
        ],
    )
    def test_what_is_not_there_is_told(self, keys: dict[str, Any], key: str, message: str) -> None:
        place, said = only_fault(**keys)
        assert place == key
        assert message in said

    def test_what_cannot_be_fetched_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        key, said = only_fault(model=TAGGED, pretrained=True)
        assert key == "weights"
        assert "where there is no network, fetch the file elsewhere" in said

    @pytest.mark.parametrize("kind", ["pth", "safetensors", "folder"])
    def test_weights_of_a_file_or_a_folder(self, timm: Any, tmp_path: Path, kind: str) -> None:
        trained = timm.create_model("test_byobnet", num_classes=5)
        path = tmp_path / f"w.{kind}"
        if kind == "pth":
            torch.save(trained.state_dict(), path)
        else:
            from safetensors.torch import save_file

            path.mkdir() if kind == "folder" else None
            save_file(trained.state_dict(), path / "model.safetensors" if path.is_dir() else path)
        model = build(model=TAGGED, weights=str(path))
        for name, value in trained.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        assert only_fault(model=TIMM, weights=str(tmp_path)) == (
            "weights",
            f"{tmp_path} holds neither model.safetensors nor pytorch_model.bin",
        )

    def test_weights_of_other_classes_and_colours(
        self, timm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained = timm.create_model("test_byobnet", num_classes=7).eval()
        torch.save(trained.state_dict(), tmp_path / "w.pth")
        model = build(model=TAGGED, weights=str(tmp_path / "w.pth"), channels=1)
        assert "tell 7 classes apart, not 5; the last layer is new" in capsys.readouterr().out
        grey = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            mine = model.forward_features(grey)
            torch.testing.assert_close(mine, trained.forward_features(grey.expand(1, 3, 64, 64)))

    def test_their_data_config_prepares_the_images(self, timm: Any, tmp_path: Path) -> None:
        trained = timm.create_model("test_byobnet", num_classes=4)
        torch.save(trained.state_dict(), tmp_path / "w.pth")
        keys = {"model": TAGGED, "model_params": {}, "weights": str(tmp_path / "w.pth")}
        made = ImageClassification(config(input_info=None, **keys))
        data = timm.data.resolve_data_config(model=timm.create_model("test_byobnet.r160_in1k"))
        image = Image.effect_noise((300, 200), 64).convert("RGB")
        seen = made.validation_transform()(image)
        torch.testing.assert_close(seen, timm.data.create_transform(**data)(image))
        assert seen.shape == (3, 160, 160)
        assert made.training_transform()(image).shape == (3, 160, 160)
        smaller = ImageClassification(config(**keys))
        assert smaller.validation_transform()(image).shape == (3, 16, 16)

    def test_a_folder_tells_its_own_data_config(self, timm: Any, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        trained = timm.create_model("test_byobnet", num_classes=4)
        save_file(trained.state_dict(), tmp_path / "model.safetensors")
        own = {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "input_size": [3, 96, 96]}}
        (tmp_path / "config.json").write_text(json.dumps(own))
        keys = {"model": TIMM, "model_params": {}, "weights": str(tmp_path), "input_info": None}
        made = ImageClassification(config(**keys))
        seen = made.validation_transform()(Image.new("RGB", (128, 128), (0, 0, 0)))
        assert seen.shape == (3, 96, 96)
        assert seen[:, 0, 0] == pytest.approx(-torch.tensor([0.1, 0.2, 0.3]) / made_std(made))


def made_std(made: ImageClassification) -> torch.Tensor:
    assert made.preprocessing.recipe is not None
    return torch.tensor(made.preprocessing.recipe.std)


@pytest.mark.usefixtures("transformers")
class TestTransformers:
    def test_a_kind_of_model_with_params_of_its_config(self) -> None:
        model = build(model=HF, model_params=SMALL, channels=1)
        assert model(torch.randn(2, 1, 64, 64)).logits.shape == (2, 5)
        assert model.config.hidden_sizes == [8, 16]

    @pytest.mark.parametrize(
        ("keys", "key", "message"),
        [
            ({"model": "hf/resnett"}, "model", "did you mean hf/resnet"),
            ({"model": "hf/bert"}, "model", "no kind of transformers' image classifiers"),
            ({"model": "hf/microsoft/resnet-50"}, "weights", "nothing is fetched unasked"),
            ({"model": HF, "pretrained": True}, "pretrained", "a repository's"),
            ({"model": HF, "weights": "/nowhere"}, "weights", "no file or folder /nowhere"),
            ({"model": HF, "weights": "DEFAULT"}, "weights", "is no folder"),
            ({"model": HF, "model_params": {"dephts": [1]}}, "model_params", "did you mean depths"),
        ],
    )
    def test_what_is_not_there_is_told(self, keys: dict[str, Any], key: str, message: str) -> None:
        place, said = only_fault(**keys)
        assert place == key
        assert message in said

    def saved(self, transformers: Any, folder: Path, classes: int) -> nn.Module:
        own = transformers.ResNetConfig(**SMALL, num_labels=classes)
        model: nn.Module = transformers.ResNetForImageClassification(own)
        model.save_pretrained(folder)  # type: ignore[operator]
        return model

    def test_weights_of_a_folder(
        self, transformers: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained = self.saved(transformers, tmp_path, 5)
        model = build(model="hf/mine/resnet", weights=str(tmp_path))
        for name, value in trained.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name
        assert capsys.readouterr().out == ""
        build(model="hf/mine/resnet", weights=str(tmp_path), classes=3)
        assert "tell 5 classes apart, not 3; the last layer is new" in capsys.readouterr().out

    def test_grey_images(self, transformers: Any, tmp_path: Path) -> None:
        trained = self.saved(transformers, tmp_path, 5).eval()
        grey = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            mine = build(model="hf/mine/resnet", weights=str(tmp_path), channels=1)(grey)
            theirs = trained(grey.expand(1, 3, 64, 64))
        torch.testing.assert_close(mine.logits, theirs.logits)

    def test_a_folder_that_lacks_a_layer(self, transformers: Any, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        self.saved(transformers, tmp_path, 5)
        file = tmp_path / "model.safetensors"
        state = load_file(file)
        del state["resnet.embedder.embedder.convolution.weight"]
        save_file(state, file, {"format": "pt"})
        key, said = only_fault(model="hf/mine/resnet", weights=str(tmp_path))
        assert key == "weights"
        assert "resnet.embedder.embedder.convolution.weight is missing" in said

    def test_what_cannot_be_fetched_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        key, said = only_fault(model="hf/microsoft/resnet-50", pretrained=True)
        assert key == "weights"
        assert "can't be had" in said

    def test_their_processor_prepares_the_images(self, transformers: Any, tmp_path: Path) -> None:
        self.saved(transformers, tmp_path, 4)
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 96}, crop_pct=0.5)
        processor.save_pretrained(tmp_path)
        keys = {"model": "hf/mine/resnet", "model_params": {}, "weights": str(tmp_path)}
        made = ImageClassification(config(input_info=None, **keys))
        image = Image.effect_noise((200, 200), 64).convert("RGB")
        seen = made.validation_transform()(image)
        assert seen.shape == (3, 96, 96)
        expected = processor(image, return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(seen, expected)
        smaller = ImageClassification(config(**keys))
        assert smaller.validation_transform()(image).shape == (3, 16, 16)

    def test_the_default_training_takes_their_outputs(self) -> None:
        made = ImageClassification(config(model=HF, model_params=SMALL))
        model = made.create_model()
        outputs = model(torch.randn(4, 3, 16, 16))
        classes = torch.tensor([0, 1, 2, 3])
        loss = made.loss(outputs, classes)
        assert torch.equal(loss, nn.functional.cross_entropy(outputs.logits, classes))
        right = made.validate(model, [(torch.randn(4, 3, 16, 16), classes)])
        assert 0 <= right <= 100
