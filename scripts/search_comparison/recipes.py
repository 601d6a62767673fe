"""What searches are compared in: the config of a task, and recipes that change keys of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from accaware import AccAwareConfig
from accaware.config.load import examine_config
from search_comparison.task import BATCH, Task

Settings = dict[str, Any]
"""Dotted keys of a config and their values; the value of APPEND is one more algorithm."""

APPEND = "compression[]"
PARAMS = "accuracy_aware_training.params"
DISTILLATION = {"algorithm": "knowledge_distillation", "scale": 2.33, "temperature": 2}
SPARSITY = {
    "algorithm": "magnitude_sparsity",
    "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 4, "sparsity_freeze_epoch": 5},
}


def recipes(task: type[Task]) -> dict[str, Settings]:
    """What each changes in the task's config."""
    teacher = {**DISTILLATION, "type": task.distillation}
    if task.distillation == "mse":
        del teacher["temperature"]
    return {
        "uniform_decrease": {},
        "recommended": {"accuracy_aware_training.preset": "recommended"},
        "stop_when_within": {f"{PARAMS}.stop_trial_when_within_budget": True},
        "distillation": {APPEND: teacher},
        "multiples_of_8": {"compression[0].params.channel_multiple": 8},
        "confirmation": {f"{PARAMS}.confirmation": {"fraction": 0.5}},
        "all_weights": {"compression[0].params.all_weights": True},
        "sparsity": {"compression": [SPARSITY]},
    }


def base_config(task: type[Task], seed: int) -> dict[str, Any]:
    return {
        "metric": dict(task.metric),
        "batch_size": BATCH,
        "optimizer": dict(task.optimizer),
        "device": "cpu",
        "seed": seed,
        "accuracy_aware_training": {
            "mode": "adaptive_compression_level",
            "params": {
                "maximal_relative_accuracy_degradation": 1.0,
                "initial_training_phase_epochs": 5,
                "patience_epochs": 5,
            },
        },
        "compression": [
            {
                "algorithm": "filter_pruning",
                "params": {
                    "pruning_target": 0.5,
                    "pruning_steps": 3,
                    "prune_first_conv": True,
                    "prune_downsample_convs": True,
                },
            }
        ],
    }


def config_of(task: type[Task], seed: int, settings: Mapping[str, Any]) -> AccAwareConfig:
    """The task's config with the settings over it.

    Raises:
        ConfigError: a setting is none that a config can have.
    """
    rest = copy.deepcopy(dict(settings))
    data = base_config(task, seed)
    data["compression"] = rest.pop("compression", data["compression"])
    if APPEND in rest:
        data["compression"].append(rest.pop(APPEND))
    texts = [f"{key}={json.dumps(value)}" for key, value in rest.items()]
    return examine_config(data, texts).require()
