"""Configs that are right, for tests to break."""

from __future__ import annotations

import copy
from typing import Any

DOCUMENTATION = """\
{
    "input_infos": {"sample_size": [1, 2, 224, 224]},
    "plugin": "plugin.py",
    "accuracy_aware_training": {
        "mode": "adaptive_compression_level",
        "params": {
            "maximal_relative_accuracy_degradation": 1.0, // percent of the baseline
            "initial_training_phase_epochs": 100, // epochs of the first phase
            "patience_epochs": 30, // epochs of each trial
            "minimal_compression_rate_step": 0.025, // the search ends below it
            "initial_compression_rate_step": 0.1, // the first step
            "compression_rate_step_reduction_factor": 0.5, // when the direction turns
            "lr_reduction_factor": 0.5, // with it
            "maximal_total_epochs": 10000 // of everything
        }
    },
    "compression": [
        {
            "algorithm": "filter_pruning",
            "pruning_init": 0.05,
            "params": {
                "schedule": "exponential",
                "pruning_target": 0.1,
                "pruning_steps": 50,
                "weight_importance": "geometric_median"
            }
        }
    ]
}
"""

_ADAPTIVE = {
    "mode": "adaptive_compression_level",
    "params": {
        "maximal_relative_accuracy_degradation": 1.0,
        "initial_training_phase_epochs": 120,
        "patience_epochs": 3,
    },
}
_EARLY_EXIT = {
    "mode": "early_exit",
    "params": {"maximal_absolute_accuracy_degradation": 0.5, "maximal_total_epochs": 120},
}

Data = dict[str, Any]


def pruning(*, early_exit: bool = False) -> Data:
    training = _EARLY_EXIT if early_exit else _ADAPTIVE
    section = {"algorithm": "filter_pruning", "params": {"pruning_steps": 20}}
    return copy.deepcopy({"accuracy_aware_training": training, "compression": section})


def sparsity(*, early_exit: bool = False, **params: Any) -> Data:
    training = _EARLY_EXIT if early_exit else _ADAPTIVE
    section = {"algorithm": "magnitude_sparsity", "params": params}
    return copy.deepcopy({"accuracy_aware_training": training, "compression": section})


def quantization(**keys: Any) -> Data:
    section = {"algorithm": "quantization", **keys}
    return copy.deepcopy({"accuracy_aware_training": _EARLY_EXIT, "compression": section})
