"""A section `accuracy_aware_training` to paste into a config that has none."""

from __future__ import annotations

import json
from collections.abc import Sequence

from accaware.config.model.algorithms import LEVELLED
from accaware.config.model.config import FilterPruningConfig, MagnitudeSparsityConfig
from accaware.config.model.schedule import schedule_of
from accaware.config.rules.checked_sections import Algorithm
from accaware.errors import UsageError

_FEWEST_EPOCHS = 10


def training_snippet(names: Sequence[str], algorithms: Sequence[Algorithm]) -> str:
    """The section as JSON on one line, long enough for the algorithms' schedules.

    Args:
        names: the algorithms that the config names.
        algorithms: those of them that can be read.
    """
    epochs = max([_FEWEST_EPOCHS, *(_needed(one) for one in algorithms)])
    params: dict[str, float] = {"maximal_relative_accuracy_degradation": 1.0}
    searched = set(names) & set(LEVELLED)
    if any(map(_has_pattern, algorithms)):
        searched = set()
    if names and not searched:
        mode = "early_exit"
        params["maximal_total_epochs"] = epochs
    else:
        mode = "adaptive_compression_level"
        params |= {"initial_training_phase_epochs": epochs, "patience_epochs": 3}
    return f'"accuracy_aware_training": {json.dumps({"mode": mode, "params": params})}'


def _has_pattern(algorithm: Algorithm) -> bool:
    """Whether its rate is fixed by a pattern, so that there is none to search."""
    config = algorithm.config
    pattern = config.params.sparsity_pattern if isinstance(config, MagnitudeSparsityConfig) else ""
    return pattern == "2:4"


def _needed(algorithm: Algorithm) -> int:
    config = algorithm.config
    if not isinstance(config, FilterPruningConfig | MagnitudeSparsityConfig):
        return 0
    try:
        return schedule_of(config).epochs_to_target or 0
    except UsageError:  # its own fault is reported
        return 0
