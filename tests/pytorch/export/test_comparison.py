"""The file in place of the model: for every way in which code may use a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import RunError
from accaware.pytorch import export_model
from accaware.pytorch.export.comparison.metric_check import check_metric
from accaware.pytorch.export.network.stand_in import in_full_precision
from tests.pytorch.export.networks import compressed, trained, validation_data


class Whole(nn.Module):
    """Has a part by the name of each thing that a stand-in could have, too."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.difference = trained(), nn.Identity()
        self.num_classes = 10

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out

    def predicted(self, images: Tensor) -> Tensor:
        return self(images).argmax(1)


def test_the_stand_in_has_the_parts_of_the_model_and_the_answers_of_the_file(
    tmp_path: Path,
) -> None:
    model, (images, _) = Whole(), validation_data()
    seen = []

    def check(compared: Any) -> None:
        stand_in = compared.stand_in
        assert isinstance(stand_in, Whole)
        assert stand_in.num_classes == 10
        assert stand_in.model is model.model
        assert not stand_in.eval().training
        stand_in.model(images)
        assert compared.difference.samples == 0  # a part isn't the file
        assert torch.equal(stand_in.predicted(images), model.eval().predicted(images))
        seen.append(compared.difference.samples)

    export_model(model, images[:1], tmp_path / "m.onnx", check=check)
    assert seen == [len(images)]


def test_what_is_hooked_onto_the_model_acts_once(tmp_path: Path) -> None:
    model, (images, _) = trained(), validation_data()
    model.register_forward_hook(lambda *call: call[2] * 2)
    model.register_forward_pre_hook(lambda _, args: (args[0] + 0.1,))
    answers = []

    def check(compared: Any) -> None:
        answers.append(compared.stand_in(images[:9]))

    export_model(model, images[:1], tmp_path / "m.onnx", check=check)
    with torch.no_grad():
        torch.testing.assert_close(answers[0], model(images[:9]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mix", ["pruned", "int8"])
def test_autocast_around_it_is_left(mix: str, tmp_path: Path) -> None:
    images, _ = validation_data()
    model, answers = compressed(mix), []

    def check(compared: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            answers.append(compared.stand_in(images))

    with torch.autocast("cpu", torch.bfloat16):
        export_model(model, images[:1], tmp_path / "m.onnx", check=check)
    assert answers[0].dtype == torch.float32


def test_a_model_in_full_precision_leaves_autocast() -> None:
    model, (images, _) = trained(), validation_data()
    expected = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(images).dtype == torch.bfloat16
        assert torch.equal(in_full_precision(model)(images), expected)
    assert in_full_precision(model).train().training
    assert model.training
    in_full_precision(model).eval()
    assert not model.training


@pytest.mark.parametrize(
    ("reference", "metric", "samples", "other"),
    [
        (98.0, 98.0 - 100 / 360, 360, None),  # percent
        (0.98, 0.98 - 1 / 360, 360, None),  # a share
        (2.0, 2.0 + 100 / 50, 50, None),  # hardly any right
        (0.0, 100 / 360, 360, 1),  # none right, and it is known that one sample differs
        (0.25, 0.0, 4, None),
        (-1.30, -1.31, 100, None),
        (2.3, 2.302, 10**6, None),
        (1234.0, 1236.0, 10**6, None),
    ],
)
def test_one_sample_may_be_another(
    reference: float, metric: float, samples: int, other: int | None
) -> None:
    check_metric(metric, reference, samples, other)


@pytest.mark.parametrize(
    ("reference", "metric", "samples", "other"),
    [
        (98.0, 98.0 - 300 / 360, 360, 3),
        (0.98, 0.98 - 3 / 360, 360, 3),
        (2.0, 2.0 + 200 / 50, 50, 2),
        (250.0, 270.0, 1000, None),
        (-1.30, -1.40, 100, None),
        (98.0, math.nan, 360, 1),
        (math.nan, 98.0, 360, None),
    ],
)
def test_more_than_a_sample_may_not(
    reference: float, metric: float, samples: int, other: int | None
) -> None:
    with pytest.raises(RunError, match=r"its metric is .*, the model's .*; a difference of"):
        check_metric(metric, reference, samples, other)
