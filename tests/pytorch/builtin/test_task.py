"""The built-in plugin's training, and what of it can be overridden."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from accaware.errors import TaskError
from accaware.pytorch.builtin.classification import ImageClassification
from accaware.pytorch.model.wrappers import Recompiled
from accaware.pytorch.training.mixed_precision import MixedPrecision
from accaware.pytorch.training.plugin_ranking import IdleCompression
from tests.pytorch.builtin.conftest import config


def test_everything_that_is_wrong_is_told_at_once() -> None:
    keys = {
        "model": "resnet19",
        "weights": "/nowhere/w.pth",
        "dataset": "voc",
        "criterion": "focal",
        "criterion_params": {"label_smoothing": 2, "gamma": 3},
        "input_info": {"sample_size": [1, 3, 16, 24]},
    }
    with pytest.raises(TaskError) as caught:
        ImageClassification(config(**keys))
    places = [key for key, _ in caught.value.faults]
    assert sorted(set(places)) == sorted(keys)
    assert places.count("criterion_params") == 2


def test_the_loss_is_cross_entropy_with_its_params() -> None:
    logits, classes = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    made = ImageClassification(config(criterion_params={"label_smoothing": 0.2}))
    expected = nn.functional.cross_entropy(logits, classes, label_smoothing=0.2)
    assert torch.equal(made.loss(logits, classes), expected)


def test_what_is_overridden_is_not_asked_for() -> None:
    class Own(ImageClassification):
        def create_model(self) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))

        def create_datasets(self) -> Any:
            return [], []

        def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
            return outputs.square().mean()

    made = Own(config(model="mine", dataset="mine", criterion="mine"))
    assert isinstance(made.create_model(), nn.Sequential)


def trained(**keys: Any) -> tuple[nn.Module, ImageClassification, float, float]:
    torch.manual_seed(0)
    made = ImageClassification(config(**keys))
    model = made.create_model()
    train, validation = made.create_datasets()
    batches = list(torch.utils.data.DataLoader(train, 64))[:2]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loss = made.train_epoch(model, batches, optimizer, IdleCompression(torch.device("cpu")))
    held = list(torch.utils.data.DataLoader(validation, 64))[:1]
    return model, made, loss, made.validate(model, held)


def test_channels_last_changes_the_layout_and_nothing_else() -> None:
    plain, _, loss, _ = trained()
    model, _, same, _ = trained(channels_last=True)
    assert same == pytest.approx(loss, rel=1e-4)
    convolution = next(one for one in model.modules() if isinstance(one, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    for mine, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_mixed_precision_comes_close_and_keeps_float32_weights() -> None:
    _, _, loss, _ = trained()
    model, made, close, _ = trained(mixed_precision=True)
    assert made.scaler is not None
    assert close == pytest.approx(loss, rel=0.05)
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_mixed_precision_takes_bfloat16_where_the_cpu_has_it() -> None:
    from accaware.pytorch.training.mixed_precision import cpu_gains

    with MixedPrecision().forward(torch.device("cpu")):
        product = torch.randn(4, 4) @ torch.randn(4, 4)
    assert product.dtype == (torch.bfloat16 if cpu_gains() else torch.float32)


def test_compiled_anew_for_more_shapes_than_torch_would_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The fastest backend to compile with; the number of shapes is what matters.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    recompiled = Recompiled()
    model = nn.Linear(40, 3)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for width in range(40, 20, -1):
            model.weight.data = model.weight.data[:, :width]
            inputs = torch.randn(2, width)
            compiled = recompiled.of(model)
            torch.testing.assert_close(compiled(inputs), model(inputs))
            assert recompiled.of(model) is compiled
    torch.compiler.reset()


def test_compiled_anew_for_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    recompiled, model = Recompiled(), nn.Sequential(nn.Linear(3, 3))
    inputs = torch.randn(2, 3)
    plain = recompiled.of(model)(inputs)
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    torch.testing.assert_close(recompiled.of(model)(inputs), 2 * plain)
    torch.compiler.reset()


def test_compiling_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    _, _, loss, accuracy = trained()
    _, _, same, likewise = trained(compile=True)
    assert same == pytest.approx(loss, rel=1e-4)
    assert likewise == accuracy
    torch.compiler.reset()
