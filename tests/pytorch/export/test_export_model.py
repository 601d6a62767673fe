"""The door's promises: options, odd models, mistakes, and no file that isn't right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torchvision
from torch import Tensor, nn

from accaware.errors import MissingExtraError, RunError, UsageError
from accaware.pytorch import export_model
from accaware.runtimes import runtime
from tests.pytorch.export.networks import compressed, outputs, trained, validation_data

EXAMPLE = torch.zeros(1, 1, 8, 8)


def test_a_static_batch_is_the_examples(tmp_path: Path) -> None:
    path, model = tmp_path / "model.onnx", trained()
    written = export_model(model, torch.zeros(3, 1, 8, 8), path, dynamic_batch=False)
    assert not written.dynamic_batch
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape
    assert [size.dim_value for size in shape.dim] == [3, 1, 8, 8]


def test_a_fixed_file_is_checked_on_batches_of_other_sizes(tmp_path: Path) -> None:
    images, _ = validation_data()
    model, seen = compressed("pruned"), []

    def check(compared: Any) -> None:
        for size in (1, 5, 6):
            expected = outputs(model, images[:size])
            torch.testing.assert_close(compared(images[:size]), expected)
        seen.append(compared.difference)

    example = torch.zeros(3, 1, 8, 8)
    export_model(model, example, tmp_path / "m.onnx", dynamic_batch=False, check=check)
    assert seen[0].samples == 12
    assert seen[0].same_top1 == 12


@pytest.mark.parametrize("opset", [21, 22, 23])
def test_the_opset_is_the_one_asked_for(opset: int, tmp_path: Path) -> None:
    written = export_model(trained(), EXAMPLE, tmp_path / "m.onnx", opset=opset)
    assert written.opset == opset
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset


class OneRow(nn.Module):
    """Takes all samples for one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layer(images.reshape(1, 64))
        return out


def test_a_model_of_one_batch_size_becomes_a_fixed_file(tmp_path: Path) -> None:
    assert not export_model(OneRow(), EXAMPLE, tmp_path / "m.onnx").dynamic_batch
    with pytest.raises(RunError, match="batches of any size; try --static-batch"):
        export_model(OneRow(), EXAMPLE, tmp_path / "n.onnx", dynamic_batch=True)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


class TwoHeads(nn.Module):
    """Keywords in, a mapping out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, wide: Tensor, *, narrow: Tensor) -> dict[str, Tensor]:
        both = self.first(wide) + self.second(narrow)
        return {"sum": both, "largest": both.amax(1)}


@pytest.mark.parametrize(("form", "suffix"), [("onnx", "onnx"), ("torch-export", "pt2")])
def test_keywords_and_several_outputs(form: str, suffix: str, tmp_path: Path) -> None:
    inputs = {"wide": torch.randn(1, 4), "narrow": torch.randn(1, 2)}
    model, answers = TwoHeads(), []

    def check(compared: Any) -> None:
        answers.append(compared(wide=torch.ones(5, 4), narrow=torch.ones(5, 2)))

    export_model(model, inputs, tmp_path / f"m.{suffix}", format=form, check=check)
    expected = model(wide=torch.ones(5, 4), narrow=torch.ones(5, 2))
    torch.testing.assert_close(answers[0], expected, check_device=False)


class Scaled(nn.Module):
    """Takes things that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, images: Tensor, factor: float, bias: None = None) -> Tensor:
        out: Tensor = self.layer(images) * factor
        return out


@pytest.mark.parametrize(
    ("form", "name"),
    [("onnx", "m.onnx"), ("openvino", "m.xml"), ("torch-export", "m.pt2"), ("state-dict", "m.pt")],
)
def test_other_arguments_are_those_of_the_example(form: str, name: str, tmp_path: Path) -> None:
    model, answers = Scaled(), []

    def check(compared: Any) -> None:
        answers.append(compared(torch.ones(5, 4), 2.5, None))

    export_model(model, (torch.ones(1, 4), 2.5, None), tmp_path / name, format=form, check=check)
    torch.testing.assert_close(answers[0], model(torch.ones(5, 4), 2.5))


class Restless(nn.Module):
    """Never gives the same answer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layer(images.flatten(1))
        return out + torch.rand_like(out)


@pytest.mark.parametrize(
    ("form", "name"),
    [("onnx", "m.onnx"), ("openvino", "m.xml"), ("torch-export", "m.pt2"), ("state-dict", "m.pt")],
)
def test_a_file_with_other_answers_is_not_left_behind(form: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("an earlier one")
    with pytest.raises(RunError, match=r"file is not what it should be: its outputs differ .* by"):
        export_model(Restless(), EXAMPLE, tmp_path / name, format=form)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "an earlier one"


def test_a_quantized_file_with_other_answers_is_told(tmp_path: Path) -> None:
    class Unfaithful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trained()

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.inner(images)
            return out + 1 if torch.compiler.is_exporting() else out

    model = Unfaithful()
    compressed("int8", model)
    images, _ = validation_data()
    with pytest.raises(RunError, match="times what quantizing its activations does"):
        export_model(model, images[:1], tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_an_exception_of_the_check_leaves_nothing(tmp_path: Path) -> None:
    def check(compared: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_model(trained(), EXAMPLE, tmp_path / "m.onnx", check=check)
    assert not list(tmp_path.iterdir())


class Undecided(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_a_model_that_torch_cannot_export_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"torch\.export can't export Undecided: "):
        export_model(Undecided(), EXAMPLE, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "there is no format 'tflite'; there is onnx, torch-export, "),
        ({"opset": 13}, "opset 13 is not between 21 and"),
        ({"opset": 99}, "opset 99 is not between 21 and"),
        ({"format": "torch-export", "opset": 21}, "--opset 21 is for onnx and openvino"),
        ({"format": "state-dict", "dynamic_batch": False}, "leave out --static-batch"),
        ({"format": "openvino"}, "the name of openvino's file must end in .xml"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export_model(trained(), EXAMPLE, tmp_path / "new" / "m.file", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [
        ("onnx", "onnxscript", "onnx"),
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("openvino", "onnx", "openvino"),
    ],
)
def test_a_missing_package_names_its_extra(
    form: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'{package} .*"accaware\[{extra}\]"'):
        export_model(trained(), EXAMPLE, tmp_path / "m.xml", format=form)


@pytest.mark.parametrize("mix", ["float", "int8"])
def test_shuffled_and_depthwise_channels(mix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    widths = [24, 32, 48, 64, 128]
    model = torchvision.models.ShuffleNetV2([2, 1, 1], widths, num_classes=10)
    model.conv1[0] = nn.Conv2d(1, 24, 3, 2, 1, bias=False)
    model.stage3 = model.stage4 = nn.Identity()
    model.conv5[0] = nn.Conv2d(32, 128, 1, bias=False)
    images, _ = validation_data()
    model.train()
    for _ in range(3):
        model(images[:64])
    if mix == "int8":
        compressed("int8", model)
    path = tmp_path / "m.onnx"
    export_model(model, images[:1], path)
    (found,) = runtime("onnxruntime").load(path, 1).run({0: images[:50].numpy()})
    expected = outputs(model.eval(), images[:50])
    apart = (torch.as_tensor(found) - expected).abs().max()
    assert apart <= (1e-5 if mix == "float" else 0.1) * expected.abs().max()


@pytest.mark.parametrize("wrap", ["compiled", "parallel", "compiled part", "compiled in place"])
def test_what_is_put_around_a_model_is_left_out(wrap: str, tmp_path: Path) -> None:
    model, (images, _) = trained(), validation_data()
    expected = outputs(model, images[:20])
    wrapped: Any = model
    if wrap == "compiled":
        wrapped = torch.compile(model, backend="eager")
    elif wrap == "parallel":
        wrapped = nn.DataParallel(model)
    elif wrap == "compiled part":
        wrapped = nn.Sequential(torch.compile(model, backend="eager"))
    else:
        model.compile(backend="eager")
    written = export_model(wrapped, images[:1], tmp_path / "m.onnx")
    assert written.dynamic_batch
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    (found,) = runtime("onnxruntime").load(tmp_path / "m.onnx", 1).run({0: images[:20].numpy()})
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-4, atol=1e-4)
