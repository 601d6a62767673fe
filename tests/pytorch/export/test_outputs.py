"""What a model gives has its names in the file, and is all compared."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from accaware.errors import RunError
from accaware.pytorch import export_model
from accaware.pytorch.export import FORMATS
from accaware.pytorch.export.comparison.difference import ExportDifference
from accaware.runtimes import runtime

Pair = namedtuple("Pair", ["boxes", "scores"])


@dataclass
class Found:
    scores: Tensor
    hidden: tuple[Tensor, Tensor] | None = None


@dataclass
class LikeAMapping(OrderedDict):  # type: ignore[type-arg]
    """As large libraries have them: fields and items at once."""

    logits: Tensor | None = None
    loss: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                super().__setitem__(field.name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)


class Plain:
    def __init__(self, scores: Tensor) -> None:
        self.scores, self.text = scores, "no tensor"


class Gives(nn.Module):
    """Makes one of two linear outputs what it is told to."""

    def __init__(self, make: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.make = nn.Linear(4, 3), nn.Linear(4, 2), make

    def forward(self, images: Tensor) -> Any:
        return self.make(images, self.first(images), self.second(images))


CASES: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Any], list[str]]] = {
    "a tensor": (lambda _, a, b: a, ["output"]),
    "a tuple": (lambda _, a, b: (a, b), ["output_0", "output_1"]),
    "a mapping": (lambda _, a, b: {"scores": a, "boxes": b}, ["scores", "boxes"]),
    "nested": (
        lambda _, a, b: {"main": a, "aux": [b, {"deep": a + 1}], "none": None, "size": 3},
        ["main", "aux.0", "aux.1.deep"],
    ),
    "a named tuple": (lambda _, a, b: Pair(a, b), ["boxes", "scores"]),
    "a dataclass": (lambda _, a, b: Found(a, (b, a)), ["scores", "hidden.0", "hidden.1"]),
    "like a mapping": (lambda _, a, b: LikeAMapping(logits=a), ["logits"]),
    "an object": (lambda _, a, b: Plain(a), ["scores"]),
    "the same twice": (lambda _, a, b: {"one": a, "two": a}, ["one", "two"]),
    "an input": (lambda x, a, b: {"images": x, "scores": a}, ["images_output", "scores"]),
    "taken names": (
        lambda _, a, b: {"a.b": a, "a": {"b": b}, "first.weight": a + 1, "linear": b * 2},
        ["a.b", "a.b_2", "first.weight_output", "linear"],
    ),
    "integers": (lambda _, a, b: {"class": a.argmax(1), "sure": a > 0}, ["class", "sure"]),
    "infinities": (
        lambda _, a, b: {"masked": a.masked_fill(a < a.mean(1, keepdim=True), -torch.inf)},
        ["masked"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_onnx_has_the_models_names(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, names = CASES[case]
    model, images = Gives(make).eval(), torch.randn(5, 4)
    answers: list[Any] = []
    export_model(
        model, images[:1], tmp_path / "m.onnx", check=lambda each: answers.append(each(images))
    )
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [value.name for value in graph.output] == names
    assert [value.name for value in graph.input] == ["images"]
    onnx.checker.check_model(tmp_path / "m.onnx")
    found = runtime("onnxruntime").load(tmp_path / "m.onnx", 1).run({0: images.numpy()})
    assert len(found) == len(names)
    # What stands in place of the model answers in the model's own structure.
    expected = model(images)
    assert type(answers[0]) is type(expected)
    if case == "a dataclass":
        torch.testing.assert_close(answers[0].hidden, expected.hidden)
    if case == "an object":
        torch.testing.assert_close(answers[0].scores, expected.scores)
        assert answers[0].text == "no tensor"
    if case == "like a mapping":
        torch.testing.assert_close(answers[0].logits, expected.logits)
        assert answers[0]["logits"] is answers[0].logits


@pytest.mark.parametrize("form", ["openvino", "torch-export", "state-dict"])
@pytest.mark.parametrize(
    "case", ["nested", "a dataclass", "the same twice", "an input", "integers"]
)
def test_other_formats_give_all_of_it(form: str, case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, names = CASES[case]
    samples = []

    def check(compared: Any) -> None:
        compared(torch.randn(7, 4))
        samples.append([output.elements for output in compared.difference.outputs])

    path = tmp_path / f"m{FORMATS[form].suffix}"
    export_model(Gives(make).eval(), torch.randn(2, 4), path, format=form, check=check)
    assert len(samples[0]) == len(names)
    assert all(samples[0])


def test_an_output_that_torch_cannot_name_becomes_a_mapping(tmp_path: Path) -> None:
    model, images = Gives(CASES["a dataclass"][0]).eval(), torch.randn(2, 4)
    export_model(model, images, tmp_path / "m.pt2", format="torch-export")
    found = torch.export.load(tmp_path / "m.pt2").module()(images)
    assert list(found) == ["scores", "hidden.0", "hidden.1"]
    torch.testing.assert_close(found["scores"], model(images).scores)


@pytest.mark.parametrize(
    ("make", "values"),
    [(lambda _, a, b: a[:, :0], "empty"), (lambda _, a, b: a * torch.nan, "NaN")],
)
def test_what_compares_nothing_fails(make: Any, values: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing was compared"):
        export_model(Gives(make).eval(), torch.randn(2, 4), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_check_that_never_runs_the_file_fails(tmp_path: Path) -> None:
    model = Gives(CASES["a tensor"][0]).eval()
    with pytest.raises(RunError, match="nothing was compared"):
        export_model(model, torch.randn(2, 4), tmp_path / "m.onnx", check=lambda compared: None)


def compare(found: Tensor, expected: Tensor, unquantized: Tensor | None = None) -> None:
    difference = ExportDifference()
    exact = expected if unquantized is None else unquantized
    ones = torch.ones(4, 1)
    difference.add([found, ones], [("a", expected), ("b", ones)], [exact, ones], 4)
    difference.check()


def test_each_output_is_judged_by_its_own_size() -> None:
    large, small = torch.full((4, 2), 1000.0), torch.full((4, 2), 1.5)
    difference = ExportDifference()
    difference.add([large, small + 0.01], [("l", large), ("s", small)], [large, small], 4)
    with pytest.raises(RunError, match=r"differ from the model's by up to 0\.01 at s;"):
        difference.check()


def test_integers_may_differ_where_rounding_decides() -> None:
    classes = torch.arange(1000)
    other, changed = classes.clone(), classes.clone()
    other[:3] += 1
    compare(other, classes)
    changed[:8] += 1
    with pytest.raises(RunError, match="8 of the 1000 integers that it gives"):
        compare(changed, classes)
    unquantized = classes.clone()
    unquantized[-3:] += 1
    compare(changed, classes, unquantized)


def test_infinities_that_are_not_the_models_are_told() -> None:
    expected = torch.tensor([[0.5, -torch.inf]] * 4)
    compare(expected.clone(), expected)
    with pytest.raises(RunError, match="differ from the model's by up to inf"):
        compare(-expected, expected)
    with pytest.raises(RunError, match="differ from the model's by up to nan"):
        compare(expected * torch.nan, expected)
