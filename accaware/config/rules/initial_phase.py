"""What a schedule is described by, which counts for nothing where no initial phase follows it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from accaware.config.model.config import (
    AlgorithmConfig,
    FilterPruningConfig,
    MagnitudeSparsityConfig,
)
from accaware.search.params import AdaptiveParams, SearchParams

INITIAL_LEVELS = ("pruning_init", "sparsity_init")
"""Of an algorithm itself."""

SCHEDULE_PARAMS = (
    "schedule",
    "pruning_target",
    "num_init_steps",
    "pruning_steps",
    "sparsity_target",
    "sparsity_target_epoch",
    "sparsity_freeze_epoch",
    "power",
    "concave",
    "update_per_optimizer_step",
    "steps_per_epoch",
    "multistep_steps",
    "multistep_sparsity_levels",
    "patience",
)
"""Of its params. pruning_flops_target isn't among them: it also says what rates are."""


def follows_schedules(search: SearchParams) -> bool:
    """Whether there is anything that does: early_exit, or an initial phase of some epochs."""
    return not isinstance(search, AdaptiveParams) or search.initial_epochs > 0


def without_schedule(algorithm: AlgorithmConfig) -> AlgorithmConfig:
    """The same with the default schedule."""
    if not isinstance(algorithm, FilterPruningConfig | MagnitudeSparsityConfig):
        return algorithm
    params: Any = replace(algorithm.params, **_defaults(algorithm.params, SCHEDULE_PARAMS))
    return replace(algorithm, params=params, **_defaults(algorithm, INITIAL_LEVELS))


def _defaults(of: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {one.name: one.default for one in fields(of) if one.name in names}
