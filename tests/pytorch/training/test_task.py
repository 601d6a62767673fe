"""What a plugin leaves open has a sound default, and what it gets wrong is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from accaware import AccAwareConfig
from accaware.errors import AccAwareError, PluginContractError, PluginFailure, UsageError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.run import TorchRun, build
from accaware.search.events import BatchFinished, Event, Warned
from tests.pytorch.training.scripts import PRUNING, adaptive
from tests.runners.torch_case import TRAINING_IMAGES, digits, trained_model

TWO_EPOCHS = adaptive(PRUNING, initial_training_phase_epochs=2, maximal_total_epochs=2).to_dict()[
    "accuracy_aware_training"
]
SHORT = {"initial_training_phase_epochs": 1, "maximal_total_epochs": 1}


def datasets(training: int = 256) -> tuple[TensorDataset, TensorDataset]:
    images, classes = digits()
    held_out = slice(TRAINING_IMAGES, None)
    return (
        TensorDataset(images[:training], classes[:training]),
        TensorDataset(images[held_out], classes[held_out]),
    )


class Least:
    """The least that a plugin may offer."""

    def create_model(self) -> Any:
        return trained_model()

    def create_datasets(self) -> Any:
        return datasets()


def plugin_with(**functions: Callable[..., Any]) -> Plugin:
    target = Least()
    for name, function in functions.items():
        setattr(target, name, function)
    return Plugin("mine.py", target)


class Watch:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def built(
    folder: Path,
    compression: dict[str, Any] = PRUNING,
    keys: dict[str, Any] | None = None,
    watch: Watch | None = None,
    **functions: Callable[..., Any],
) -> TorchRun:
    config = AccAwareConfig.from_dict(
        {**adaptive(compression, **SHORT).to_dict(), "device": "cpu", **(keys or {})}
    )
    observers = [watch] if watch else []
    return build(config, plugin_with(**functions), checkpoints=folder, observers=observers)


# Defaults --------------------------------------------------------------------------------------


def test_a_model_and_datasets_are_enough(tmp_path: Path) -> None:
    run = built(tmp_path)
    assert run.result is None
    result = run.search()
    assert result.within_budget or result.best
    assert result.budget.baseline > 95  # percent of top-1
    assert result.trials[0].epochs[0].loss is not None
    assert run.sizes().filters.compressed < run.sizes().filters.dense


def test_the_plugins_own_functions_are_used(tmp_path: Path) -> None:
    seen: list[Any] = []

    def train_epoch(model: Any, loader: Any, optimizer: Any, compression: Any) -> None:
        model.train()
        for images, classes in loader:
            outputs = model(images)
            loss = nn.functional.cross_entropy(outputs, classes) + compression.loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            compression.step()
        seen.append(("train", type(optimizer), len(loader), len(loader.dataset)))

    def configure(model: nn.Module) -> Any:
        optimizer = torch.optim.RMSprop(model.parameters(), lr=0.001)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)

    run = built(
        tmp_path,
        keys={"batch_size": 100},
        train_epoch=train_epoch,
        validate=lambda model, loader: seen.append(("validate", len(loader))) or 1.0,
        configure_optimizers=configure,
        example_inputs=lambda: seen.append("inputs") or {"images": torch.zeros(1, 1, 8, 8)},
    )
    result = run.search()
    assert result.budget.baseline == 1.0
    assert result.trials[0].epochs[0].loss is None
    assert ("train", torch.optim.RMSprop, 3, 256) in seen
    assert ("validate", 6) in seen
    assert "inputs" in seen


def test_the_plugins_loss_serves_the_default_training(tmp_path: Path) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.multi_margin_loss(outputs, targets) + 100

    result = built(tmp_path, loss=loss).search()
    assert (result.trials[0].epochs[0].loss or 0) > 100


def test_data_loaders_are_used_as_they_are(tmp_path: Path) -> None:
    train, validation = (DataLoader(part, batch_size=90) for part in datasets())
    watch = Watch()
    built(tmp_path, watch=watch, create_dataloaders=lambda: (train, validation)).search()
    totals = {
        (event.activity, event.total) for event in watch.events if isinstance(event, BatchFinished)
    }
    assert totals == {("train", 3), ("validate", 7)}


def test_the_configs_optimizer_serves_training(tmp_path: Path) -> None:
    def stand_still(section: dict[str, Any]) -> float | None:
        run = built(tmp_path, keys={"optimizer": section})
        return run.search().trials[0].epochs[0].loss

    assert stand_still({"base_lr": 1e-9}) != stand_still({"base_lr": 0.05})


def test_data_without_a_length(tmp_path: Path) -> None:
    class Stream(IterableDataset[Any]):
        def __init__(self, dataset: TensorDataset) -> None:
            self.dataset = dataset

        def __iter__(self) -> Iterator[Any]:
            return (self.dataset[index] for index in range(100))

    watch = Watch()
    streams = [Stream(part) for part in datasets()]
    built(tmp_path, watch=watch, create_datasets=lambda: streams).search()
    batches = [event for event in watch.events if isinstance(event, BatchFinished)]
    assert batches
    assert {event.total for event in batches} == {None}


def test_a_last_batch_of_one_sample_is_left_out_of_training(tmp_path: Path) -> None:
    watch = Watch()
    built(tmp_path, watch=watch, create_datasets=lambda: datasets(129)).search()
    trained = [
        event
        for event in watch.events
        if isinstance(event, BatchFinished) and event.activity == "train"
    ]
    assert [event.done for event in trained] == [1, 2]
    assert trained[-1].total == 2


def test_progress_of_batch_norm_adaptation_is_told(tmp_path: Path) -> None:
    initializer = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 100}}
    watch = Watch()
    built(tmp_path, {**PRUNING, "initializer": initializer}, watch=watch).search()
    adapted = [
        (event.done, event.total)
        for event in watch.events
        if isinstance(event, BatchFinished) and event.activity == "adapt"
    ]
    assert adapted == [(64, 100), (100, 100)]


def test_a_model_with_auxiliary_outputs_is_judged_by_its_main_ones(tmp_path: Path) -> None:
    class WithAuxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trained_model()

        def forward(self, images: Tensor) -> Any:
            outputs = self.inner(images)
            return (outputs, outputs.sum()) if self.training else outputs

    assert built(tmp_path, create_model=WithAuxiliary).search().budget.baseline > 95


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    def weights(seed: int) -> list[Tensor]:
        torch.rand(3)  # whatever happened before doesn't matter
        run = built(tmp_path / str(seed), keys={"seed": seed})
        run.search()
        run.save_model(tmp_path / "model.pt")
        saved = torch.load(tmp_path / "model.pt", weights_only=True)["state_dict"]
        return list(saved.values())

    first, second, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not all(
        one.shape == two.shape and torch.equal(one, two)
        for one, two in zip(first, other, strict=True)
    )


# Data that are kept for the final model --------------------------------------------------------


def confirming(confirmation: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Keys of a config whose trials are judged by a part of the data."""
    lenient = {**SHORT, "maximal_absolute_accuracy_degradation": 90}
    training = adaptive(PRUNING, **lenient, confirmation=confirmation).to_dict()
    return {"accuracy_aware_training": training["accuracy_aware_training"], **keys}


class Numbered(Dataset[tuple[Tensor, Tensor]]):
    """The validation images, which note who asked for them."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._data = datasets()[1]

    def __len__(self) -> int:
        return 101

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self._data[index]


def parts_of(folder: Path, seed: int) -> tuple[list[int], list[int]]:
    """The samples that trials are judged by, and those that are kept, as a run reads them."""
    data = Numbered()
    keys = confirming({"fraction": 0.3}, seed=seed)
    built(folder, keys=keys, create_datasets=lambda: (datasets()[0], data))
    return data.asked[:71], data.asked[71:]


def test_a_fraction_of_the_validation_data_is_kept_for_the_final_model(tmp_path: Path) -> None:
    judged, kept = parts_of(tmp_path / "a", seed=1)
    assert len(kept) == 30
    assert sorted(judged + kept) == list(range(101))
    assert judged == sorted(judged)
    assert kept == sorted(kept)
    assert parts_of(tmp_path / "b", seed=1) == (judged, kept)
    assert parts_of(tmp_path / "c", seed=2) != (judged, kept)


def test_the_final_model_is_judged_by_what_was_kept(tmp_path: Path) -> None:
    data = Numbered()
    keys = confirming({"fraction": 0.3})
    run = built(tmp_path, keys=keys, create_datasets=lambda: (datasets()[0], data))
    kept = set(data.asked[71:])
    del data.asked[:]
    result = run.search()
    assert result.confirmation is not None
    assert result.confirmation.budget.samples == 30
    assert result.budget.samples == 71
    looked_at = [index in kept for index in data.asked]
    tries = len(result.confirmation.tried)
    assert tries > 0
    assert sum(looked_at) == 30 * tries
    assert not any(looked_at[: -(30 + 71) * tries])


@pytest.mark.parametrize("loaders", [False, True])
def test_a_third_part_of_the_plugins_own(tmp_path: Path, loaders: bool) -> None:
    train, validation = datasets()
    third = TensorDataset(*(part[:50] for part in validation.tensors))
    if loaders:
        functions: Any = {
            "create_dataloaders": lambda: tuple(
                DataLoader(part, 64) for part in (train, validation, third)
            )
        }
    else:
        functions = {"create_datasets": lambda: (train, validation, third)}
    result = built(tmp_path, keys=confirming({}), **functions).search()
    assert result.confirmation is not None
    assert result.confirmation.budget.samples == 50


@pytest.mark.parametrize(
    ("confirmation", "functions", "message"),
    [
        (
            {"fraction": 0.5},
            {"create_dataloaders": lambda: tuple(map(DataLoader, datasets()))},
            r"can't be split.*return a third loader",
        ),
        ({}, {}, "create_datasets must return three parts"),
        (
            {},
            {"create_dataloaders": lambda: tuple(map(DataLoader, datasets()))},
            "create_dataloaders must return three parts",
        ),
        (
            {"fraction": 0.5},
            {"create_datasets": lambda: (*datasets(), datasets()[1])},
            "must return a pair.*a third part, for confirmation",
        ),
        (None, {"create_datasets": lambda: (*datasets(), datasets()[1])}, "must return a pair"),
        ({}, {"create_datasets": lambda: (*datasets(), [])}, "the confirmation data is empty"),
        (
            {"fraction": 0.5},
            {"create_datasets": lambda: (datasets()[0], Endless())},
            "an IterableDataset can't be split",
        ),
        (
            {"fraction": 0.001},
            {"create_datasets": lambda: datasets(100)[::-1]},
            "a fraction of 0.001 leaves 100 of 100 samples to judge trials by, and 0",
        ),
    ],
)
def test_what_contradicts_a_confirmation_is_refused(
    tmp_path: Path, confirmation: Any, functions: Any, message: str
) -> None:
    keys = None if confirmation is None else confirming(confirmation)
    with pytest.raises(PluginContractError, match=message):
        built(tmp_path, keys=keys, **functions)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(datasets()[1])


def test_confidence_needs_the_samples(tmp_path: Path) -> None:
    training = adaptive(PRUNING, **SHORT, required_confidence=0.9).to_dict()
    keys = {"accuracy_aware_training": training["accuracy_aware_training"]}
    message = r"required_confidence.*validate must return accaware.Metric"
    with pytest.raises(PluginContractError, match=message):
        built(tmp_path / "a", keys=keys, validate=lambda model, loader: 97.0)
    result = built(tmp_path / "b", keys=keys).search()
    assert result.budget.required_confidence == 0.9
    assert all(trial.standard_error is not None for trial in result.trials)


# What plugins get wrong ------------------------------------------------------------------------


class Images(Dataset[Tensor]):
    """Images alone, without classes."""

    def __len__(self) -> int:
        return 70

    def __getitem__(self, index: int) -> Tensor:
        return digits()[0][index]


def relabelled(change: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
    return lambda: tuple(
        TensorDataset(part.tensors[0], change(part.tensors[1])) for part in datasets()
    )


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"create_model": lambda: "a model"}, "create_model must return an nn.Module.*'a model'"),
        ({"create_model": lambda: None}, "create_model must return an nn.Module.*None"),
        ({"create_model": lambda: nn.Linear}, "create_model must return an nn.Module"),
        ({"create_datasets": lambda: None}, "create_datasets must return a pair.*None"),
        ({"create_datasets": lambda: (1, 2, 3)}, "create_datasets must return a pair"),
        ({"create_datasets": lambda: datasets()[0]}, "create_datasets must return a pair"),
        ({"create_datasets": lambda: (None, None)}, "must return datasets.*for training.*None"),
        (
            {"create_datasets": lambda: (datasets()[0], iter([]))},
            "must return datasets.*for validation",
        ),
        ({"create_datasets": lambda: ([], [])}, "the training data is empty"),
        ({"create_datasets": lambda: (datasets()[0], [])}, "the validation data is empty"),
        ({"create_dataloaders": lambda: [None, 3]}, "must return data loaders.*for training"),
        (
            {"create_dataloaders": lambda: (DataLoader(datasets()[0]), iter([1]))},
            "must return data loaders.*again and again; for validation",
        ),
        ({"create_dataloaders": lambda: ([], [])}, "the training data is empty"),
        ({"validate": lambda model, loader: None}, "validate must return the metric.*None"),
        ({"validate": lambda model, loader: "97 %"}, "validate must return the metric.*'97 %'"),
        (
            {"validate": lambda model, loader: torch.ones(2)},
            r"validate must return the metric.*tensor of shape \[2\]",
        ),
        ({"validate": lambda model, loader: float("nan")}, "the baseline metric is nan"),
        ({"loss": lambda outputs, targets: 0.5}, "loss must return a tensor of one element.*0.5"),
        (
            {"loss": lambda outputs, targets: outputs},
            r"loss must return a tensor of one element.*\[64, 10\]",
        ),
        (
            {"loss": lambda outputs, targets: outputs.detach().mean()},
            "the loss has no gradient: it was detached",
        ),
        ({"example_inputs": lambda: None}, "example_inputs must return a tensor.*None"),
        ({"example_inputs": lambda: {"size": 8}}, "example_inputs must return a tensor.*'size'"),
        (
            {"train_epoch": lambda model, loader, optimizer, compression: "low"},
            "train_epoch must return a loss or None",
        ),
        ({"configure_optimizers": lambda model: None}, "configure_optimizers must return"),
        ({"create_datasets": lambda: (Images(), Images())}, r"must be \(inputs, targets\)"),
        (
            {"create_datasets": relabelled(lambda classes: classes[:, None])},
            r"need \(N,\) integer targets, not a int64 tensor of shape \[64, 1\]",
        ),
        (
            {"create_datasets": relabelled(lambda classes: classes.float())},
            r"need \(N,\) integer targets, not a float32 tensor",
        ),
        (
            {"create_model": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 10, 3))},
            r"need \(N, classes\) outputs, not a float32 tensor of shape \[64, 10, 4, 4\]",
        ),
        ({"create_model": lambda: DictOutputs()}, r"need \(N, classes\) outputs, not dict"),
    ],
)
def test_a_wrong_return_is_told_in_one_sentence(
    tmp_path: Path, functions: dict[str, Callable[..., Any]], message: str
) -> None:
    with pytest.raises(AccAwareError, match=message) as raised:
        built(tmp_path, **functions).search()
    assert not isinstance(raised.value, PluginFailure)
    assert "\n" not in str(raised.value)


class DictOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = trained_model()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(images)}


def raises(*_: Any, **__: Any) -> Any:
    raise ArithmeticError("mine")


class FailingData(Dataset[Any]):
    """Fine until an item is asked for."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> Any:
        return raises()


class FailingModel(nn.Module):
    """Runs on whole batches alone."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained_model()

    def forward(self, images: Tensor) -> Tensor:
        if len(images) == 1:
            raises()
        outputs: Tensor = self.inner(images)
        return outputs


@pytest.mark.parametrize(
    ("functions", "named"),
    [
        *[
            ({name: raises}, name)
            for name in (
                "create_model",
                "create_datasets",
                "create_dataloaders",
                "train_epoch",
                "validate",
                "configure_optimizers",
                "loss",
                "example_inputs",
            )
        ],
        ({"create_datasets": lambda: (FailingData(), datasets()[1])}, "the training data"),
        (
            {"create_datasets": lambda: (datasets()[0], FailingData())},
            "the default validate",
        ),
        ({"create_model": FailingModel}, "the model, called with the example inputs,"),
    ],
)
def test_the_users_exception_is_held_and_the_function_named(
    tmp_path: Path, functions: dict[str, Callable[..., Any]], named: str
) -> None:
    with pytest.raises(PluginFailure) as raised:
        built(tmp_path, **functions).search()
    assert raised.value.function == named
    assert isinstance(raised.value.original, ArithmeticError)


def test_an_exception_in_the_data_of_batch_norm_adaptation_is_the_users(tmp_path: Path) -> None:
    calls = 0

    class Once(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            nonlocal calls
            calls += 1
            if calls > 1:  # the first time is for the example inputs
                raises()
            return (datasets()[0][index] for index in range(100))

    initializer = {"batchnorm_adaptation": {"num_bn_adaptation_samples": 100}}
    run = built(
        tmp_path,
        {**PRUNING, "initializer": initializer},
        create_datasets=lambda: (Once(), datasets()[1]),
    )
    with pytest.raises(PluginFailure) as raised:
        run.search()
    assert raised.value.function == "batch norm adaptation"
    assert isinstance(raised.value.original, ArithmeticError)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    absent = next(
        (
            name
            for name, there in (
                ("mps", torch.backends.mps.is_available()),
                ("cuda", torch.cuda.is_available()),
            )
            if not there
        ),
        None,
    )
    assert absent is not None, "no machine has both"
    with pytest.raises(UsageError, match=f"device '{absent}' is not available.*there is.*cpu"):
        built(tmp_path, keys={"device": absent})
    with pytest.raises(UsageError, match="cuda:99"):
        built(tmp_path, keys={"device": "cuda:99"})


def test_after_an_exception_the_best_so_far_can_be_held(tmp_path: Path) -> None:
    calls = 0

    def train_epoch(model: Any, loader: Any, optimizer: Any, compression: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 2:
            raises()
        return 0.5

    run = built(
        tmp_path,
        keys={
            "accuracy_aware_training": {
                "mode": "adaptive_compression_level",
                "params": {
                    "maximal_absolute_accuracy_degradation": 100,
                    "initial_training_phase_epochs": 1,
                    "patience_epochs": 1,
                },
            }
        },
        train_epoch=train_epoch,
    )
    with pytest.raises(PluginFailure):
        run.search()
    assert run.result is not None
    assert run.result.best is not None
    assert run.load_best()
    assert run.sizes().filters.compressed == 24


def test_nothing_is_held_where_nothing_was_judged(tmp_path: Path) -> None:
    run = built(tmp_path, train_epoch=raises)
    assert not run.load_best()
    with pytest.raises(PluginFailure):
        run.search()
    assert not run.load_best()


def test_a_model_that_cannot_be_pruned_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        built(tmp_path, create_model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    assert not isinstance(raised.value, PluginContractError)
    assert "Sequential" in str(raised.value)


def test_a_training_that_waits_for_its_data_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            time.sleep(0.02)
            return datasets()[0][index]

    monkeypatch.setattr("accaware.pytorch.training.task._WORTH_TELLING", 0.1)
    watch = Watch()
    built(
        tmp_path,
        keys={"accuracy_aware_training": TWO_EPOCHS},
        watch=watch,
        create_datasets=lambda: (Slow(), datasets()[1]),
    ).search()
    said = [event.message for event in watch.events if isinstance(event, Warned)]
    (told,) = [each for each in said if "waiting for training data" in each]
    assert "num_workers, now 0" in told
