"""What becomes of NNCF's keys: kept, or told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accaware.config.load import examine_text
from accaware.errors import ConfigError
from accaware.starter.commented import commented
from accaware.starter.nncf import Translation
from accaware.starter.words import words_for

PRUNING: dict[str, Any] = {"algorithm": "filter_pruning"}
INT8: dict[str, Any] = {"algorithm": "quantization"}


def translated(**config: Any) -> Translation:
    """Of a config with these keys; what comes out has nothing that is refused or ignored."""
    translation = Translation(json.dumps(config), "old.json")
    text = commented(translation.data, words_for(translation.data), head="")
    assert examine_text(text, "c.json", Path()).diagnostics == ()
    return translation


def told(translation: Translation) -> dict[str, str]:
    """What was done with each key."""
    return {key: change.kind for change in translation.changes for key in change.keys}


def test_what_means_something_is_kept() -> None:
    kept = {
        "model": "resnet18",
        "batch_size": 32,
        "optimizer": {"type": "SGD", "base_lr": 0.02, "schedule_type": "step", "step": 3},
        "compression": {
            "algorithm": "filter_pruning",
            "ignored_scopes": ["ResNet/NNCFConv2d[conv1]/conv2d_0"],
            "params": {"filter_importance": "geometric_median"},
        },
    }
    translation = translated(**kept)
    training = translation.data.pop("accuracy_aware_training")
    assert translation.data == kept
    assert told(translation) == {"accuracy_aware_training": "added"}
    assert training["preset"] == "recommended"
    assert training["params"] == {
        "maximal_relative_accuracy_degradation": 1.0,
        "patience_epochs": 5,
    }


def test_a_budget_and_its_epochs_are_kept_and_the_schedule_of_the_initial_phase_is_not() -> None:
    translation = translated(
        accuracy_aware_training={
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_absolute_accuracy_degradation": 0.7,
                "initial_training_phase_epochs": 100,
                "patience_epochs": 30,
            },
        },
        compression=[
            {
                "algorithm": "filter_pruning",
                "pruning_init": 0.1,
                "params": {"schedule": "exponential", "pruning_target": 0.4, "pruning_steps": 20},
            },
            INT8,
        ],
    )
    assert translation.data == {
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "preset": "recommended",
            "params": {"maximal_absolute_accuracy_degradation": 0.7, "patience_epochs": 30},
        },
        "compression": [PRUNING, INT8],
    }
    assert told(translation) == {
        "accuracy_aware_training.preset": "added",
        "accuracy_aware_training.params.initial_training_phase_epochs": "dropped",
        "compression[0].pruning_init": "dropped",
        "compression[0].params.schedule": "dropped",
        "compression[0].params.pruning_target": "dropped",
        "compression[0].params.pruning_steps": "dropped",
    }


def test_where_no_rate_is_searched_it_trains_until_it_is_within_budget() -> None:
    training = translated(compression=INT8).data["accuracy_aware_training"]
    assert training["mode"] == "early_exit"
    assert training["params"]["maximal_total_epochs"] == 10


def test_a_strategy_of_its_own_keeps_its_schedule() -> None:
    schedule = {"schedule": "baseline", "pruning_target": 0.3}
    params = {
        "maximal_relative_accuracy_degradation": 1.0,
        "initial_training_phase_epochs": 3,
        "patience_epochs": 3,
        "strategy": "uniform_decrease",
    }
    mode = "adaptive_compression_level"
    training = {"mode": mode, "params": params}
    data = translated(
        accuracy_aware_training=training, compression={**PRUNING, "params": schedule}
    ).data
    assert data["compression"]["params"] == schedule
    assert data["accuracy_aware_training"]["params"] == params


@pytest.mark.parametrize(
    ("config", "key", "kind", "why"),
    [
        ({"epochs": 90}, "epochs", "dropped", "only NNCF's example scripts read it"),
        ({"target_device": "CPU"}, "target_device", "dropped", "the same way for every device"),
        ({"log_dir": "logs"}, "log_dir", "dropped", "--output-dir"),
        ({"nonsense": 1}, "nonsense", "dropped", "is not a known key"),
        ({"workers": 4}, "workers", "changed", "is read as num_workers"),
        ({"optimizer": {"type": "adam"}}, "optimizer.type", "changed", '"Adam"'),
        (
            {"compression": {**INT8, "params": {"base_wd": 1e-5}}},
            "compression.params",
            "dropped",
            "staged quantization is not supported",
        ),
        (
            {"compression": {**INT8, "initializer": {"precision": {"type": "hawq"}}}},
            "compression.initializer.precision",
            "dropped",
            "not supported",
        ),
        (
            {"compression": {"algorithm": "rb_sparsity", "params": {"schedule": "multistep"}}},
            "compression.algorithm",
            "changed",
            "use magnitude_sparsity",
        ),
    ],
)
def test_what_means_nothing_or_something_else_is_told(
    config: dict[str, Any], key: str, kind: str, why: str
) -> None:
    translation = translated(**{"compression": PRUNING, **config})
    (change,) = [one for one in translation.changes if key in one.keys]
    assert change.kind == kind
    assert why in change.why
    assert str(change).startswith(f"{kind} {key}: ")


def test_a_key_gets_its_name_in_its_place() -> None:
    translation = translated(workers=4, compression=PRUNING)
    assert list(translation.data) == ["num_workers", "accuracy_aware_training", "compression"]
    assert translation.data["num_workers"] == 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-3, 1e-4, 1e-5], {"schedule_type": "multistep", "steps": [5, 9], "gamma": 0.1}),
        ([1e-3, 1e-4, 5e-5], {}),  # a factor each: no schedule has that
    ],
)
def test_a_learning_rate_of_tensorflow_is_kept(
    values: list[float], expected: dict[str, Any]
) -> None:
    optimizer = {
        "type": "momentum",
        "schedule_type": "piecewise_constant",
        "schedule_params": {"boundaries": [5, 9], "values": values},
    }
    translation = translated(optimizer=optimizer, compression=INT8)
    momentum = {"momentum": 0.9}
    common = {"type": "SGD", "optimizer_params": momentum, "base_lr": 1e-3}
    assert translation.data["optimizer"] == {**common, **expected}
    kinds = told(translation)
    assert kinds["optimizer.type"] == kinds["optimizer.schedule_params"] == "changed"
    assert kinds["optimizer.schedule_type"] == ("changed" if expected else "dropped")


def test_a_model_that_no_library_has_makes_way_for_a_plugin() -> None:
    translation = translated(model="mine", dataset="mine", num_classes=3, compression=PRUNING)
    assert translation.names_model
    translation.use_plugin("plugin.py", "no library has it")
    assert list(translation.data) == ["plugin", "accuracy_aware_training", "compression"]
    assert (
        told(translation).items()
        >= dict.fromkeys(["model", "dataset", "num_classes"], "dropped").items()
    )


def test_reasons_are_told_once_for_all_their_keys() -> None:
    translation = translated(epochs=1, preprocessing={}, compression=PRUNING)
    assert str(translation.changes[0]).startswith("dropped epochs, preprocessing: only NNCF's")


@pytest.mark.parametrize("text", ['{"compression": ', "[1]", '{"model": "resnet18"}'])
def test_what_can_not_be_mended_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Translation(text, "old.json")
