"""Knowledge distillation: the dense model's outputs as part of the loss."""

from __future__ import annotations

import copy
import pickle
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware import AccAwareConfig, create_accuracy_aware_training_loop
from accaware.errors import AccAwareWarning, UsageError
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.quantization.scripts import batches
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, adaptive
from tests.runners.torch_case import TinyNet, accuracy, train, trained_model

IMAGES = batches()[0][0]


def distilled(**section: Any) -> tuple[PTCompressionController, TinyNet]:
    model = trained_model()
    teaching = {"algorithm": "knowledge_distillation", "type": "softmax", **section}
    controller, _ = create_compressed_model(model, adaptive([PRUNING, teaching]), EXAMPLE)
    return controller, model


def teachers_outputs() -> Tensor:
    with torch.no_grad():
        outputs: Tensor = trained_model().eval()(IMAGES)
    return outputs


@pytest.mark.parametrize("kind", ["softmax", "kl"])
def test_softmax_is_the_divergence_from_the_teacher(kind: str) -> None:
    controller, model = distilled(type=kind, scale=3.0, temperature=2.0)
    controller.compression_rate = 0.5
    model.train()
    student = model(IMAGES)
    teacher, mine = (teachers_outputs() / 2).softmax(1), (student / 2).softmax(1)
    expected = 3.0 * 4.0 * (teacher * (teacher / mine).log()).sum(1).mean()
    torch.testing.assert_close(controller.loss(), expected, rtol=1e-4, atol=1e-5)


def test_mse_is_the_mean_squared_difference() -> None:
    controller, model = distilled(type="mse", scale=0.5)
    controller.compression_rate = 0.5
    model.train()
    expected = 0.5 * ((model(IMAGES) - teachers_outputs()) ** 2).mean()
    torch.testing.assert_close(controller.loss(), expected)


class _Given(nn.Module):
    """Gives what ``make`` makes of (N, K) scores."""

    def __init__(self, make: Any, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.LazyLinear(classes)
        )
        self.body(EXAMPLE)
        self.make = make

    def forward(self, images: Tensor) -> Any:
        return self.make(self.body(images))


@pytest.mark.parametrize(
    ("model", "higher_is_better", "kind"),
    [
        (_Given(lambda scores: scores), True, "kl"),
        (_Given(lambda scores: scores, classes=2), True, "kl"),
        (_Given(lambda scores: {"scores": scores, "order": scores.argmax(1)}), True, "kl"),
        (_Given(lambda scores: scores), False, "mse"),
        (_Given(lambda scores: scores, classes=1), True, "mse"),
        (_Given(lambda scores: scores[:, 0]), True, "mse"),
        (_Given(lambda scores: scores[:, :, None]), True, "mse"),
        (_Given(lambda scores: (scores, scores[:, :, None])), True, "mse"),
    ],
)
def test_auto_compares_class_scores_by_kl_and_all_else_by_mse(
    model: nn.Module, higher_is_better: bool, kind: str
) -> None:
    given = adaptive([PRUNING, {"algorithm": "knowledge_distillation", "type": "auto"}]).to_dict()
    given["metric"]["higher_is_better"] = higher_is_better
    model.train()
    controller, _ = create_compressed_model(model, AccAwareConfig.from_dict(given), EXAMPLE)
    assert model.training
    assert f"knowledge distillation by {kind}, scale 1" in str(controller.statistics())
    assert controller.distillation is not None
    assert not controller.distillation.used


def test_auto_has_the_loss_of_what_it_chose() -> None:
    losses = []
    for kind in ("auto", "kl"):
        controller, model = distilled(type=kind, scale=2.0, temperature=3.0)
        controller.compression_rate = 0.5
        model.train()(IMAGES)
        losses.append(controller.loss())
    assert torch.equal(*losses)


def test_its_gradient_goes_to_the_model_and_not_to_the_teacher() -> None:
    controller, model = distilled()
    controller.compression_rate = 0.5
    model.train()
    model(IMAGES)
    controller.loss().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_training_on_it_alone_draws_the_model_to_the_teacher() -> None:
    controller, model = distilled()
    controller.compression_rate = 0.4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    controller.attach_optimizer(optimizer)
    model.train()
    losses = []
    for _ in range(2):
        for images, _ in batches():
            model(images)
            loss = controller.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_the_teacher_stays_what_it_was_and_adds_nothing_to_the_model() -> None:
    controller, model = distilled()
    assert model.state_dict().keys() == trained_model().state_dict().keys()
    controller.compression_rate = 0.5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(controller, model, epoch=0, optimizer=optimizer)
    assert controller.distillation is not None
    teacher = controller.distillation.state_dict()
    for name, tensor in trained_model().state_dict().items():
        assert torch.equal(teacher[name], tensor), name


def test_its_state_brings_back_a_teacher_that_nobody_else_has() -> None:
    controller, _ = distilled()
    assert controller.distillation is not None
    kept = copy.deepcopy(controller.distillation.state_dict())
    torch.manual_seed(1)
    other = TinyNet()
    section = {"algorithm": "knowledge_distillation", "type": "mse"}
    again, _ = create_compressed_model(other, adaptive([PRUNING, section]), EXAMPLE)
    assert again.distillation is not None
    again.distillation.load_state_dict(kept)
    other.load_state_dict(trained_model().state_dict())
    other.eval()
    other.features.train(False)
    other.training = True
    other(IMAGES)
    assert again.loss().item() == pytest.approx(0, abs=1e-8)


def test_a_loss_without_a_forward_says_what_to_do() -> None:
    controller, model = distilled()
    with pytest.raises(UsageError, match="call the model first"):
        controller.loss()
    model.train()
    model(IMAGES)
    controller.loss()
    with pytest.raises(UsageError, match="call the model first"):
        controller.loss()


def test_validation_is_not_compared() -> None:
    controller, model = distilled()
    model.eval()
    model(IMAGES)
    with pytest.raises(UsageError, match="call the model first"):
        controller.loss()


def test_every_output_of_a_model_counts() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
            self.left, self.right = nn.Linear(8, 3), nn.Linear(8, 2)

        def forward(self, values: Tensor) -> dict[str, Tensor]:
            stem = self.stem(values)
            return {"left": self.left(stem), "right": self.right(stem)}

    torch.manual_seed(0)
    model, values = TwoHeads(), torch.randn(5, 4)
    with torch.no_grad():
        wanted = copy.deepcopy(model)(values)
    config = adaptive(
        [
            {"algorithm": "magnitude_sparsity", "params": {"sparsity_target_epoch": 1}},
            {"algorithm": "knowledge_distillation", "type": "mse"},
        ]
    )
    controller, _ = create_compressed_model(model, config, values)
    controller.compression_rate = 0.5
    found = model.train()(values)
    each = [((found[name] - wanted[name]) ** 2).mean() for name in ("left", "right")]
    torch.testing.assert_close(controller.loss(), sum(each) / 2)


@pytest.mark.parametrize("kind", ["softmax", "mse"])
def test_under_mixed_precision_it_is_the_same_and_never_below_zero(kind: str) -> None:
    controller, model = distilled(type=kind)
    model.train()
    for module in model.features:
        module.eval()  # the student computes what the teacher does, but for its precision
    for images, _ in batches():
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(images)
        assert outputs.dtype is torch.bfloat16
        loss = controller.loss()
        assert loss.dtype is torch.float32
        assert loss.item() == 0  # both under the same autocast
    controller.compression_rate = 0.5
    model(IMAGES)
    expected = controller.loss()
    with torch.autocast("cpu", torch.bfloat16):
        model(IMAGES)
    torch.testing.assert_close(controller.loss(), expected, rtol=0.05, atol=0.01)


def test_a_divergence_of_nothing_is_nothing() -> None:
    controller, model = distilled(temperature=0.7)
    model.train()
    for module in model.features:
        module.eval()
    for images, _ in batches():
        model(images + 1e-4 * torch.randn_like(images))
        assert controller.loss().item() >= 0


def test_a_copy_of_the_model_has_no_teacher_and_is_not_watched() -> None:
    controller, model = distilled()
    size = sum(value.nbytes for value in model.state_dict().values())
    assert len(pickle.dumps(model)) < 1.7 * size
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.train()(IMAGES)
        with pytest.raises(UsageError, match="call the model first"):
            controller.loss()
    model.train()(IMAGES)
    assert controller.loss().requires_grad


def test_what_nobody_compares_is_let_go_of_after_the_step() -> None:
    controller, model = distilled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    controller.attach_optimizer(optimizer)
    outputs = model.train()(IMAGES)
    held = weakref.ref(outputs)
    outputs.sum().backward()
    del outputs
    assert held() is not None
    optimizer.step()
    assert held() is None


def searched(train_epoch: Any) -> list[str]:
    """What a search of a few epochs warned of."""
    controller, model = distilled()
    config = adaptive(
        [PRUNING, {"algorithm": "knowledge_distillation", "type": "softmax"}],
        maximal_total_epochs=3,
    )
    loop = create_accuracy_aware_training_loop(config, controller, accuracy(model))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run(
            model,
            train_epoch_fn=train_epoch,
            validate_fn=accuracy,
            configure_optimizers_fn=lambda: torch.optim.SGD(model.parameters(), lr=0.01),
        )
    return [str(each.message) for each in caught if each.category is AccAwareWarning]


def test_a_training_that_never_asks_for_it_is_told_once() -> None:
    def forgetful(controller: Any, model: nn.Module, *, optimizer: Any, **_: Any) -> None:
        model.train()
        for images, classes in batches()[:2]:
            loss = nn.functional.cross_entropy(model(images), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    (message,) = searched(forgetful)
    assert "knowledge distillation has no effect" in message
    assert "be it of the config or of its preset" in message
    assert "compression.loss()" in message
    assert searched(train) == []
