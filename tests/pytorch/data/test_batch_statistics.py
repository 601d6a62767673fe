"""Batch norm statistics, adapted where a rate is new and the config asks for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch import PTCompressionController, create_compressed_model
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import TinyNet, accuracy, digits, trained_model

SAMPLES = 130


class Loader:
    """Batches of 50 from the digits, the last one shorter; counts how often it is gone through."""

    def __init__(self, images: int = 120) -> None:
        pixels, classes = digits()
        self.batches = list(
            zip(pixels[:images].double().split(50), classes[:images].split(50), strict=True)
        )
        self.passes = 0

    def __iter__(self) -> Any:
        self.passes += 1
        return iter(self.batches)


def adapted(
    compression: dict[str, Any], samples: int = SAMPLES, loader: Loader | None = None
) -> tuple[PTCompressionController, TinyNet, Loader]:
    loader = loader or Loader()
    model = trained_model().double()
    initializer = {"batchnorm_adaptation": {"num_bn_adaptation_samples": samples}}
    config = adaptive({**compression, "initializer": initializer})
    controller, _ = create_compressed_model(model, config, EXAMPLE.double(), loader)
    return controller, model, loader


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def averages(model: nn.Module, batches: list[Any]) -> list[tuple[Tensor, Tensor]]:
    """Each batch norm's mean and variance over the samples, without running statistics.

    The variance is the average of the batches' own, each weighted by its samples.
    """
    seen: dict[nn.Module, list[Tensor]] = {}
    model = copy.deepcopy(model).train()
    for norm in norms(model):
        norm.register_forward_hook(
            lambda norm, inputs, output: seen.setdefault(norm, []).append(inputs[0])
        )
    with torch.no_grad():
        for images, _ in batches:
            model(images)
    found = []
    for norm in norms(model):
        total = sum(len(inputs) for inputs in seen[norm])
        mean = torch.cat(seen[norm]).mean(dim=(0, 2, 3))
        variance = sum(
            len(inputs) / total * inputs.transpose(0, 1).flatten(1).var(dim=1)
            for inputs in seen[norm]
        )
        found.append((mean, torch.as_tensor(variance)))
    return found


@pytest.mark.parametrize("compression", [PRUNING, SPARSITY])
@pytest.mark.parametrize(("samples", "used"), [(130, 3), (100, 2), (51, 2), (1, 1), (2000, 3)])
def test_statistics_after_a_new_rate_are_plain_averages(
    compression: dict[str, Any], samples: int, used: int
) -> None:
    controller, model, loader = adapted(compression, samples)
    controller.compression_rate = 0.5
    expected = averages(model, loader.batches[:used])
    for norm, (mean, variance) in zip(norms(model), expected, strict=True):
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("compression", [PRUNING, SPARSITY])
def test_nothing_but_the_statistics_changes(compression: dict[str, Any]) -> None:
    controller, model, _ = adapted(compression)
    plain = trained_model().double()
    reference, _ = create_compressed_model(plain, adaptive(compression), EXAMPLE.double())
    model.train()
    model.features[1].eval()
    model.features[1].momentum = 0.3
    model.features[4].momentum = None
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    controller.compression_rate = reference.compression_rate = 0.5

    assert [module.training for module in model.modules()] == modes
    assert model.features[1].momentum == 0.3
    assert model.features[4].momentum is None
    assert torch.equal(torch.get_rng_state(), random)
    wanted = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, wanted[name])
        assert parameter.grad is None
        assert parameter.requires_grad


@pytest.mark.parametrize("compression", [PRUNING, SPARSITY])
def test_only_a_new_rate_is_adapted_to(compression: dict[str, Any]) -> None:
    controller, _, loader = adapted(compression)
    assert loader.passes == 0
    passes = []
    for rate in (0.5, 0.5, 0.499, 0.8, 0.5, 0.0):
        controller.compression_rate = rate
        passes.append(loader.passes)
    fine = 3 if compression is SPARSITY else 2  # 0.499 has a mask of its own, but no layout
    assert passes == [1, 1, fine - 1, fine, fine + 1, fine + 1]


def test_the_schedules_levels_are_adapted_to() -> None:
    compression = {**PRUNING, "params": {**PRUNING["params"], "schedule": "exponential"}}
    compression["params"]["pruning_steps"] = 2
    controller, _, loader = adapted({**compression, "pruning_init": 0.2})
    for expected in (1, 2, 2):
        controller.scheduler.epoch_step()
        assert loader.passes == expected


@pytest.mark.parametrize("beside", [(), ({"algorithm": "quantization"},)])
def test_levels_that_change_at_each_step_are_adapted_to_once_an_epoch(
    beside: tuple[dict[str, Any], ...],
) -> None:
    loader, model = Loader(), trained_model()
    loader.batches = [(images.float(), classes) for images, classes in loader.batches]
    params = {
        "update_per_optimizer_step": True,
        "steps_per_epoch": 5,
        "sparsity_target": 0.6,
        "sparsity_target_epoch": 2,
        "sparsity_freeze_epoch": 4,
    }
    adaptation = {"batchnorm_adaptation": {"num_bn_adaptation_samples": SAMPLES}}
    section = {"algorithm": "magnitude_sparsity", "params": params, "initializer": adaptation}
    config = early_exit([section, *beside])
    controller, _ = create_compressed_model(model, config, EXAMPLE, loader)
    each = 1 + len(beside)  # the ranges of activations are measured as often
    passes, rates = [], []
    for _ in range(4):
        controller.scheduler.epoch_step()
        passes.append(loader.passes)
        for _ in range(5):
            controller.scheduler.step()
            rates.append(controller.compression_rate)
        assert loader.passes == passes[-1]
        assert controller.quantization is None or controller.quantization.active
    assert rates == sorted(rates)
    assert len(set(rates)) == 10  # until the end of the second epoch
    # Before the first epoch nothing is sparse: there only ranges are new. The third one begins
    # with the last level of the second one, which nobody has looked at yet.
    first = 2 if beside else 0
    assert passes == [first, first + each, first + 2 * each, first + 2 * each]


def test_what_a_step_left_to_be_adapted_to_is_in_the_state() -> None:
    params = {
        "update_per_optimizer_step": True,
        "steps_per_epoch": 5,
        "sparsity_target_epoch": 1,
        "sparsity_freeze_epoch": 2,
    }
    sparsity = {"algorithm": "magnitude_sparsity", "params": params}
    controller, _, loader = adapted(sparsity)
    controller.scheduler.epoch_step()
    for _ in range(5):
        controller.scheduler.step()
    model, schedule = controller.state_dict(), controller.scheduler.state_dict()
    again, _, other = adapted(sparsity)
    again.load_state_dict(model)
    again.scheduler.load_state_dict(schedule)
    again.scheduler.epoch_step()
    controller.scheduler.epoch_step()
    assert other.passes == loader.passes == 1


def test_loading_a_checkpoint_brings_back_its_own_statistics() -> None:
    controller, model, loader = adapted(PRUNING)
    controller.compression_rate = 0.5
    state = copy.deepcopy(controller.state_dict())
    wanted = [norm.running_mean.clone() for norm in norms(model) if norm.running_mean is not None]
    controller.compression_rate = 0.8
    passes = loader.passes
    controller.load_state_dict(state)
    assert loader.passes == passes
    assert all(
        torch.equal(mean, norm.running_mean)
        for mean, norm in zip(wanted, norms(model), strict=True)
        if norm.running_mean is not None
    )


@pytest.mark.parametrize("initializer", [{}, {"batchnorm_adaptation": {}}, None])
def test_it_is_off_unless_asked_for(initializer: dict[str, Any] | None) -> None:
    loader = Loader()
    extra = {} if initializer is None else {"initializer": initializer}
    if initializer:
        extra["initializer"] = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}}
    config = adaptive({**PRUNING, **extra})
    controller, _ = create_compressed_model(trained_model(), config, EXAMPLE, loader)
    controller.compression_rate = 0.5
    assert loader.passes == 0


def test_asking_for_it_without_training_data_is_an_error_up_front() -> None:
    initializer: dict[str, Any] = {"batchnorm_adaptation": {}}
    model = trained_model()
    before = accuracy(model)
    with pytest.raises(UsageError, match=r"batchnorm_adaptation.*train_loader"):
        create_compressed_model(model, adaptive({**PRUNING, "initializer": initializer}), EXAMPLE)
    assert accuracy(model) == before


def test_a_model_without_batch_norm_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 3), nn.Flatten())
    initializer: dict[str, Any] = {"batchnorm_adaptation": {}}
    loader = Loader()
    config = adaptive({**PRUNING, "initializer": initializer})
    controller, _ = create_compressed_model(model, config, EXAMPLE, loader)
    controller.compression_rate = 0.5
    assert loader.passes == 0


def test_an_exception_in_the_data_leaves_modes_and_momentum_as_they_were() -> None:
    class Failing(Loader):
        def __iter__(self) -> Any:
            yield self.batches[0]
            raise OSError("the disk is gone")

    controller, model, _ = adapted(PRUNING, loader=Failing())
    model.train()
    with pytest.raises(OSError, match="the disk is gone"):
        controller.compression_rate = 0.5
    assert all(module.training for module in model.modules())
    assert {norm.momentum for norm in norms(model)} == {0.1}
