"""Files for batches of any size, and why some are for one size alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from accaware.pytorch import export_model
from accaware.pytorch.export import FORMATS
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import runtime


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)


class Variadic(Base):
    def forward(self, *images: Tensor) -> Tensor:
        out: Tensor = self.layer(images[0]) + self.layer(images[-1])
        return out


class Keywords(Base):
    def forward(self, images: Tensor, **more: Tensor) -> Tensor:
        out: Tensor = self.layer(images) + more["extra"]
        return out


class Nested(Base):
    def forward(self, batch: dict[str, Any], factor: float = 2.0) -> Tensor:
        out: Tensor = self.layer(batch["images"][0]) * factor
        return out


class WithAnchors(Base):
    """One input belongs to all samples, and one output to none."""

    def forward(self, images: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(images) @ anchors.T, anchors * 2


ANCHORS = torch.linspace(-1, 1, 21).reshape(7, 3)


@pytest.mark.parametrize("form", ["onnx", "openvino", "torch-export"])
@pytest.mark.parametrize(
    ("model", "inputs", "more"),
    [
        (Variadic(), (torch.randn(1, 4),), (torch.randn(5, 4),)),
        (Variadic(), (torch.randn(1, 4),) * 2, (torch.randn(5, 4), torch.randn(5, 4))),
        (
            Keywords(),
            ExampleInputs((torch.randn(1, 4),), {"extra": torch.randn(1, 3)}),
            ExampleInputs((torch.randn(5, 4),), {"extra": torch.randn(5, 3)}),
        ),
        (Nested(), ({"images": [torch.randn(1, 4)]},), ({"images": [torch.randn(5, 4)]},)),
        (WithAnchors(), (torch.randn(2, 4), ANCHORS), (torch.randn(5, 4), ANCHORS)),
    ],
    ids=["one of *args", "two of *args", "**kwargs", "nested", "anchors"],
)  # fmt: skip
def test_any_batch(form: str, model: nn.Module, inputs: Any, more: Any, tmp_path: Path) -> None:
    def check(compared: Any) -> None:
        given = ExampleInputs.of(more)
        found, expected = given.call(compared), given.call(model)
        torch.testing.assert_close(found, expected)

    path = tmp_path / f"m{FORMATS[form].suffix}"
    written = export_model(model.eval(), inputs, path, format=form, check=check)
    assert written.dynamic_batch
    assert written.fixed_batch is None


class TwoRows(Base):
    def forward(self, images: Tensor, anchors: Tensor) -> dict[str, Tensor]:
        scores = self.layer(images.reshape(2, 4))
        return {"scores": scores, "anchors": anchors + 1, "mean": scores.mean()}


def test_a_fixed_batch_has_its_reason_and_is_compared_in_portions(tmp_path: Path) -> None:
    model, anchors = TwoRows().eval(), torch.randn(7)
    images = torch.randn(5, 4)
    answers: list[Any] = []

    def check(compared: Any) -> None:
        answers.append((compared(images, anchors), compared.difference.samples))

    example = (torch.randn(2, 4), anchors)
    written = export_model(model, example, tmp_path / "m.onnx", check=check)
    assert not written.dynamic_batch
    assert written.fixed_batch is not None
    assert written.fixed_batch.startswith("torch.export says: You marked ")
    assert "specialized" in written.fixed_batch
    assert "\n" not in written.fixed_batch
    ((found, samples),) = answers
    assert samples == 5
    torch.testing.assert_close(found["scores"], model.layer(images))
    torch.testing.assert_close(found["anchors"], anchors + 1)
    shape = onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_value == 2


def test_a_batch_that_was_fixed_on_purpose_says_so(tmp_path: Path) -> None:
    images = torch.randn(2, 4)
    written = export_model(Variadic().eval(), images, tmp_path / "m.onnx", dynamic_batch=False)
    assert written.fixed_batch == "it was asked for"
    found = runtime("onnxruntime").load(tmp_path / "m.onnx", 1).run({0: images.numpy()})
    assert found[0].shape == (2, 3)
