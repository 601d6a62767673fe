"""The loops from a training script, as NNCF 2's are used: its names, its callbacks."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from accaware import (
    AccAwareConfig,
    AdaptiveCompressionTrainingLoop,
    EarlyExitCompressionTrainingLoop,
    create_accuracy_aware_training_loop,
)
from accaware.errors import PluginContractError, UsageError
from accaware.pytorch import create_compressed_model
from accaware.search import SearchStatus, StopReason
from tests.pytorch.training.scripts import EXAMPLE, PRUNING, SPARSITY, adaptive, early_exit
from tests.runners.torch_case import accuracy, digits, train, trained_model


class Recording:
    """Stands in for a SummaryWriter."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars.append((tag, float(value), step))


def adam(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def search(config: AccAwareConfig, **functions: Any) -> tuple[Any, Any]:
    """The loop, run with plain functions but for those given, and its model."""
    model = trained_model()
    baseline = accuracy(model)
    controller, model = create_compressed_model(model, config, EXAMPLE)
    loop = create_accuracy_aware_training_loop(config, controller, baseline)
    found = loop.run(
        model,
        **{
            "train_epoch_fn": train,
            "validate_fn": accuracy,
            "configure_optimizers_fn": lambda: adam(model),
            **functions,
        },
    )
    assert found is model
    return loop, model


def test_a_script_written_for_nncf(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(adaptive().to_dict()))
    seen: list[tuple[Any, ...]] = []

    config = AccAwareConfig.from_json(path)
    model = trained_model()
    baseline = accuracy(model)
    compression_ctrl, model = create_compressed_model(model, config, EXAMPLE)

    def train_epoch_fn(controller, model, epoch, optimizer, lr_scheduler, **kwargs):  # type: ignore[no-untyped-def]
        seen.append(("train", epoch))
        train(controller, model, epoch=epoch, optimizer=optimizer)

    def validate_fn(model, epoch=None):  # type: ignore[no-untyped-def]
        seen.append(("validate", epoch))
        return accuracy(model)

    def configure_optimizers_fn():  # type: ignore[no-untyped-def]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def dump_checkpoint_fn(model, compression_controller, accuracy_aware_runner, save_dir):  # type: ignore[no-untyped-def]
        file = Path(save_dir) / "checkpoint_best.pth"
        content = {
            "state_dict": model.state_dict(),
            "rate": compression_controller.compression_rate,
        }
        torch.save(content, file)
        seen.append(("dump", compression_controller is compression_ctrl))
        return str(file)

    def load_checkpoint_fn(model, load_path):  # type: ignore[no-untyped-def]
        content = torch.load(load_path)
        model.load_state_dict(content["state_dict"])
        seen.append(("load", content["rate"]))

    def update_learning_rate_fn(lr_scheduler, epoch, accuracy, loss):  # type: ignore[no-untyped-def]
        seen.append(("update", epoch, accuracy, loss))
        lr_scheduler.step()

    loop = AdaptiveCompressionTrainingLoop(
        config, compression_ctrl, uncompressed_model_accuracy=baseline
    )
    found = loop.run(
        model,
        train_epoch_fn=train_epoch_fn,
        validate_fn=validate_fn,
        configure_optimizers_fn=configure_optimizers_fn,
        dump_checkpoint_fn=dump_checkpoint_fn,
        load_checkpoint_fn=load_checkpoint_fn,
        early_stopping_fn=None,
        update_learning_rate_fn=update_learning_rate_fn,
        tensorboard_writer=Recording(),
        log_dir=str(tmp_path / "log"),
    )

    assert found is model
    epochs = loop.result.epochs
    assert [call[1] for call in seen if call[0] == "train"] == list(range(epochs))
    assert all(isinstance(call[1], int) for call in seen if call[0] == "validate")
    updates = [call for call in seen if call[0] == "update"]
    assert [call[1] for call in updates] == list(range(epochs))
    assert all(isinstance(call[2], float) and call[3] is None for call in updates)
    assert all(call[1] for call in seen if call[0] == "dump")
    best = loop.result.best
    assert best is not None
    assert [call for call in seen if call[0] == "load"][-1][1] == best.compression_rate
    assert accuracy(model) == best.metric
    statistics = loop.statistics
    assert statistics.uncompressed_accuracy == baseline
    assert statistics.compression_rate == compression_ctrl.compression_rate > 0
    assert statistics.compressed_accuracy == best.metric
    assert statistics.absolute_accuracy_degradation == baseline - best.metric
    assert statistics.relative_accuracy_degradation == pytest.approx(
        100 * (baseline - best.metric) / baseline
    )
    assert statistics.accuracy_budget == pytest.approx(0.02 - (baseline - best.metric))
    assert "filter pruning" in compression_ctrl.statistics().to_str()


@pytest.mark.parametrize("compression", [PRUNING, SPARSITY])
def test_early_exit_stops_once_compressed_and_within_budget(compression: dict[str, Any]) -> None:
    loop, model = search(early_exit(compression))
    assert isinstance(loop, EarlyExitCompressionTrainingLoop)
    assert loop.result.status is SearchStatus.WITHIN_BUDGET
    assert loop.result.stop_reason is StopReason.WITHIN_BUDGET
    assert accuracy(model) == loop.result.best.metric
    assert loop.result.best.compression_rate == pytest.approx(
        0.4 if compression is PRUNING else 0.5, abs=0.02
    )


def test_the_loop_of_the_configs_mode_is_made() -> None:
    model = trained_model()
    controller, _ = create_compressed_model(model, adaptive(), EXAMPLE)
    loop = create_accuracy_aware_training_loop(adaptive(), controller, 0.98)
    assert isinstance(loop, AdaptiveCompressionTrainingLoop)
    with pytest.raises(UsageError, match="early_exit"):
        EarlyExitCompressionTrainingLoop(adaptive(), controller, 0.98)


def test_a_fixed_checkpoint_file_of_the_users_never_brings_back_another_trials_weights(
    tmp_path: Path,
) -> None:
    file = tmp_path / "always_the_same.pth"

    def dump(model: Any, controller: Any, runner: Any, save_dir: str) -> str:
        torch.save(model.state_dict(), file)
        return str(file)

    loop, model = search(
        adaptive(maximal_total_epochs=9),
        dump_checkpoint_fn=dump,
        load_checkpoint_fn=lambda model, path: model.load_state_dict(torch.load(path)),
        log_dir=str(tmp_path),
    )
    assert loop.result.within_budget
    assert accuracy(model) == loop.result.best.metric


def test_each_trial_has_a_folder_of_its_own_for_the_users_checkpoint(tmp_path: Path) -> None:
    rates: list[tuple[float, float]] = []

    def dump(model: Any, controller: Any, runner: Any, save_dir: str) -> Path:
        file = Path(save_dir) / "last.txt"
        file.write_text(repr(controller.compression_rate))
        return file

    def load(model: Any, path: Path) -> None:
        convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
        kept = sum(len(convolution.weight) for convolution in convolutions)
        rates.append((float(path.read_text()), 1 - kept / 40))

    loop, _ = search(
        adaptive(maximal_absolute_accuracy_degradation=0.5, maximal_total_epochs=6),
        dump_checkpoint_fn=dump,
        load_checkpoint_fn=load,
        log_dir=str(tmp_path),
    )
    trials = len(loop.result.trials)
    assert trials > 2
    # Those of trials that nobody can ask for again are gone, folders and all.
    kept = {trial.checkpoint for trial in loop.result.trials if trial.checkpoint is not None}
    assert 0 < len(kept) < trials
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == {"untouched", *kept}
    assert all((tmp_path / name / "last.txt").exists() for name in folders)
    assert len(rates) == trials  # each start but the first, and the best in the end
    assert all(dumped == pytest.approx(live) for dumped, live in rates)


def test_what_a_load_function_does_to_the_model_counts(tmp_path: Path) -> None:
    def damage(model: Any, path: str) -> None:
        with torch.no_grad():
            model.classifier.weight.zero_()

    loop, model = search(
        adaptive(maximal_total_epochs=2),
        dump_checkpoint_fn=lambda model, controller, runner, save_dir: save_dir,
        load_checkpoint_fn=damage,
    )
    assert loop.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert torch.count_nonzero(model.classifier.weight) == 0


def test_early_stopping_ends_the_search_after_the_epoch_at_hand() -> None:
    seen: list[float] = []

    def stop(metric: float) -> bool:
        seen.append(metric)
        return True

    loop, _ = search(adaptive(), early_stopping_fn=stop)
    assert loop.result.stop_reason is StopReason.STOPPED_BY_USER_FUNCTION
    assert loop.result.epochs == len(seen) == 1


def test_any_object_with_add_scalar_is_a_tensorboard_writer() -> None:
    writer = Recording()
    loop, _ = search(adaptive(maximal_total_epochs=3), tensorboard_writer=writer)
    epochs = [epoch for trial in loop.result.trials for epoch in trial.epochs]
    for tag, values in {
        "train/loss": [epoch.loss for epoch in epochs],
        "validation/metric": [epoch.metric for epoch in epochs],
        "compression/rate": [epoch.compression_rate for epoch in epochs],
    }.items():
        written = [(value, step) for name, value, step in writer.scalars if name == tag]
        assert written == [(value, step) for step, value in enumerate(values, start=1)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_tensorboard_writer_reads_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:  # type: ignore[no-untyped-call]
        loop, _ = search(adaptive(maximal_total_epochs=2), tensorboard_writer=writer)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    rates = [scalar.value for scalar in events.Scalars("compression/rate")]
    assert rates == pytest.approx(
        [epoch.compression_rate for trial in loop.result.trials for epoch in trial.epochs]
    )


class UsersError(Exception):
    pass


def failing(*_: Any, **__: Any) -> Any:
    raise UsersError("mine")


@pytest.mark.parametrize(
    "name",
    [
        "train_epoch_fn",
        "validate_fn",
        "configure_optimizers_fn",
        "dump_checkpoint_fn",
        "load_checkpoint_fn",
        "early_stopping_fn",
        "update_learning_rate_fn",
    ],
)
def test_an_exception_of_a_callback_comes_as_itself(name: str) -> None:
    functions = {name: failing}
    if name == "load_checkpoint_fn":
        functions["dump_checkpoint_fn"] = lambda model, controller, runner, save_dir: save_dir
    with pytest.raises(UsersError, match="mine"):
        search(adaptive(maximal_total_epochs=2), **functions)


def test_what_was_earned_before_an_exception_stays() -> None:
    model = trained_model()
    baseline = accuracy(model)
    controller, _ = create_compressed_model(model, adaptive(), EXAMPLE)
    loop = AdaptiveCompressionTrainingLoop(adaptive(), controller, baseline)

    def train_twice(*arguments: Any, epoch: int, **more: Any) -> float:
        if epoch == 2:
            raise UsersError
        return train(*arguments, epoch=epoch, **more)

    with pytest.raises(UsersError):
        loop.run(model, train_twice, accuracy, lambda: adam(model))
    assert loop.result.stop_reason is StopReason.FAILED
    assert loop.result.best is not None
    assert loop.result.best.trial == 0


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"validate_fn": lambda model: None}, "validate must return the metric.*None"),
        ({"validate_fn": lambda model: "0.97"}, "validate must return the metric.*'0.97'"),
        (
            {"validate_fn": lambda model: torch.zeros(3)},
            r"validate must return the metric.*a tensor of shape \[3\]",
        ),
        ({"validate_fn": lambda model: {"top1": 97.0}}, "must return the metric.*'top1'.*dict"),
        ({"validate_fn": lambda model: (97.0, 0.1)}, "must return the metric.*tuple"),
        ({"validate_fn": lambda model: True}, r"must return the metric.*True \(bool\)"),
        ({"validate_fn": lambda model: bytearray(b"97")}, "must return the metric.*bytearray"),
        ({"validate_fn": lambda model: 10**400}, "must return the metric"),
        ({"validate_fn": lambda model: 1j}, "must return the metric.*complex"),
        ({"validate_fn": lambda model: torch.tensor(1 + 2j)}, "must return the metric"),
        ({"validate_fn": lambda model: torch.zeros(0)}, "must return the metric"),
        ({"validate_fn": lambda model: torch.tensor(True)}, "must return the metric"),
        ({"validate_fn": lambda model: numpy.zeros(2)}, "must return the metric.*ndarray"),
        ({"validate_fn": lambda model: numpy.str_("97")}, "must return the metric.*str_"),
        ({"train_epoch_fn": lambda *_, **__: "low"}, "train_epoch must return a loss or None"),
        ({"train_epoch_fn": lambda *_, **__: {"loss": 0.5}}, "train_epoch must return a loss"),
        ({"train_epoch_fn": lambda *_, **__: torch.ones(3)}, "train_epoch must return a loss"),
        ({"configure_optimizers_fn": lambda: None}, "configure_optimizers must return"),
        ({"configure_optimizers_fn": lambda: (1, 2, 3)}, "configure_optimizers must return"),
        ({"configure_optimizers_fn": lambda: (sgd(), "cosine")}, r"step\(\).*'cosine'"),
        ({"configure_optimizers_fn": lambda: (sgd(), [None, 0.1])}, r"step\(\).*0.1"),
        ({"configure_optimizers_fn": lambda: (sgd(), sgd())}, r"step\(\).*SGD"),
        ({"configure_optimizers_fn": lambda: {"optimizer": sgd()}}, "must return.*dict"),
    ],
)
def test_a_bad_return_is_told_in_one_sentence(functions: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginContractError, match=message):
        search(adaptive(maximal_total_epochs=2), **functions)


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)])


def test_a_metric_may_be_a_tensor_or_a_numpy_number() -> None:
    def as_array(value: float) -> Any:
        return numpy.full((1, 1), value)

    def with_gradient(value: float) -> Any:
        return torch.tensor([value], requires_grad=True)

    kinds = (torch.tensor, with_gradient, numpy.float32, numpy.float64, as_array, Fraction)
    for kind in kinds:
        loop, _ = search(
            adaptive(maximal_total_epochs=2), validate_fn=lambda model, k=kind: k(accuracy(model))
        )
        assert loop.result.within_budget


def test_checkpoints_go_with_the_loop_or_stay_where_they_are_asked_to(tmp_path: Path) -> None:
    search(adaptive(maximal_total_epochs=2), log_dir=str(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").glob("*.pt"))


def test_example_inputs_come_from_input_info_where_none_are_given() -> None:
    config = AccAwareConfig.from_dict(
        {**adaptive().to_dict(), "input_info": {"sample_size": [1, 1, 8, 8]}}
    )
    controller, _ = create_compressed_model(trained_model(), config)
    controller.compression_rate = 0.5
    assert controller.compression_rate == pytest.approx(0.5, abs=0.02)
    with pytest.raises(UsageError, match=r"example_inputs.*input_info"):
        create_compressed_model(trained_model(), adaptive())


def test_a_loop_of_the_users_own_follows_the_schedule() -> None:
    """No accaware loop at all: the controller and its scheduler alone, as in NNCF."""
    compression = {
        **PRUNING,
        "pruning_init": 0.1,
        "params": {**PRUNING["params"], "schedule": "exponential", "pruning_steps": 3},
    }
    model = trained_model()
    config = adaptive(compression, initial_training_phase_epochs=3)
    controller, _ = create_compressed_model(model, config, EXAMPLE)
    optimizer = adam(model)
    controller.attach_optimizer(optimizer)
    rates, stages = [], [controller.compression_stage().name]
    for epoch in range(3):
        controller.scheduler.epoch_step()
        train(controller, model, epoch=epoch, optimizer=optimizer)
        rates.append(controller.compression_rate)
        stages.append(controller.compression_stage().name)
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.1, abs=0.03)
    assert rates[-1] == pytest.approx(0.4, abs=0.03)
    assert stages == [
        "UNCOMPRESSED",
        "PARTIALLY_COMPRESSED",
        "PARTIALLY_COMPRESSED",
        "FULLY_COMPRESSED",
    ]
    assert accuracy(model) > 0.9


def test_a_loop_searches_once_and_says_what_a_second_time_would_take() -> None:
    config = adaptive(maximal_total_epochs=2)
    loop, model = search(config)
    result = loop.result
    functions = {
        "train_epoch_fn": train,
        "validate_fn": accuracy,
        "configure_optimizers_fn": lambda: adam(model),
    }
    with pytest.raises(UsageError, match="call create_compressed_model"):
        loop.run(model, **functions)
    assert loop.result is result
    other = create_accuracy_aware_training_loop(config, loop._controller, 0.9)
    with pytest.raises(UsageError, match="call create_compressed_model"):
        other.run(model, **functions)


@pytest.mark.parametrize("average", [None, get_ema_multi_avg_fn(0.9)])
def test_an_average_of_the_model_as_it_was_is_an_error_that_says_what_to_do(average: Any) -> None:
    averages: list[AveragedModel] = []

    def train_and_average(controller: Any, model: Any, **rest: Any) -> float:
        if not averages:
            averages.append(AveragedModel(trained_model(), multi_avg_fn=average))
        loss = train(controller, model, **rest)
        averages[0].update_parameters(model)
        return loss

    with pytest.raises(RuntimeError, match="size") as raised:
        search(adaptive(), train_epoch_fn=train_and_average)
    (note,) = raised.value.__notes__
    assert "AveragedModel" in note
    assert "make it in train_epoch" in note


def test_an_average_that_is_made_anew_where_shapes_change_is_right() -> None:
    averages: list[AveragedModel] = []

    def shapes(model: torch.nn.Module) -> list[torch.Size]:
        return [parameter.shape for parameter in model.parameters()]

    def train_and_average(controller: Any, model: Any, **rest: Any) -> float:
        if not averages or shapes(averages[-1]) != shapes(model):
            averages.append(AveragedModel(model))
        loss = train(controller, model, **rest)
        averages[-1].update_parameters(model)
        return loss

    search(adaptive(), train_epoch_fn=train_and_average)
    assert len(averages) > 1


def test_lbfgs_forgets_the_curvature_of_a_network_that_is_no_more() -> None:
    section = {**PRUNING, "pruning_init": 0.1}
    section["params"] = {**PRUNING["params"], "schedule": "exponential", "pruning_steps": 2}
    model = trained_model()
    controller, _ = create_compressed_model(
        model, adaptive(section, initial_training_phase_epochs=4), EXAMPLE
    )
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    controller.attach_optimizer(optimizer)
    images, classes = (part[:200] for part in digits())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), classes)
        loss.backward()
        return loss

    rates = set()
    for _ in range(3):
        controller.scheduler.epoch_step()
        rates.add(controller.compression_rate)
        model.train()
        losses = [optimizer.step(closure).item() for _ in range(3)]
        assert losses[-1] < losses[0]
    assert len(rates) == 2
