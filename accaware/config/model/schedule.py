"""From an algorithm's config to the schedule that it describes."""

from __future__ import annotations

from accaware.config.model.config import (
    FilterPruningConfig,
    LevelledConfig,
    MagnitudeSparsityConfig,
)
from accaware.search.schedules.schedules import (
    Adaptive,
    Baseline,
    Exponential,
    ExponentialWithBias,
    MultiStep,
    Polynomial,
    Schedule,
)


def schedule_of(algorithm: LevelledConfig) -> Schedule:
    """The level of ``algorithm`` over the epochs.

    Raises:
        ValueError: for a schedule's name that no checked config has.
    """
    if isinstance(algorithm, FilterPruningConfig):
        return _pruning(algorithm)
    return _sparsity(algorithm)


def _pruning(algorithm: FilterPruningConfig) -> Schedule:
    params, init = algorithm.params, algorithm.pruning_init
    flops = params.pruning_flops_target
    target = params.pruning_target if flops is None else flops
    duration, delay = params.pruning_steps - 1, params.num_init_steps
    match params.schedule:
        case "baseline":
            return Baseline(target, delay)
        case "exponential":
            return Exponential(init, target, duration, delay)
        case "exponential_with_bias":
            return ExponentialWithBias(init, target, duration, delay)
    raise ValueError(f"filter_pruning has no schedule {params.schedule!r}")


def _sparsity(algorithm: MagnitudeSparsityConfig) -> Schedule:
    params, init = algorithm.params, algorithm.sparsity_init
    target, duration = params.sparsity_target, params.sparsity_target_epoch
    if params.sparsity_pattern == "2:4":
        return Baseline(target)
    match params.schedule:
        case "polynomial":
            return Polynomial(init, target, duration, params.power, params.concave)
        case "exponential":
            return Exponential(init, target, duration)
        case "multistep":
            return MultiStep(params.multistep_steps, params.multistep_sparsity_levels)
        case "adaptive":
            return Adaptive(init, target, params.patience)
    raise ValueError(f"magnitude_sparsity has no schedule {params.schedule!r}")
