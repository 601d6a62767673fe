"""Rules across keys. Each takes sections that are right in themselves, and yields faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from accaware.config.fault import Fault, warning
from accaware.config.model import FilterPruningConfig, MagnitudeSparsityConfig
from accaware.config.schedule import schedule_of
from accaware.config.sections import Algorithm, Training
from accaware.search.params import AdaptiveParams, EarlyExitParams

_RELATIVE = "maximal_relative_accuracy_degradation"
_ABSOLUTE = "maximal_absolute_accuracy_degradation"


def search_faults(training: Training | None, algorithms: Sequence[Algorithm]) -> list[Fault]:
    """All faults between the search and what it compresses with."""
    faults: list[Fault] = []
    if training is not None:
        faults += _degradation(training)
        faults += _search(training)
    faults += _mix(training, algorithms)
    for algorithm in algorithms:
        own = [*_multistep(algorithm), *_levels(algorithm)]
        faults += own
        if own:  # it describes no schedule to compare with anything
            continue
        faults += _freeze(algorithm)
        if training is not None:
            faults += _length(training, algorithm)
            faults += _bounds(training, algorithm)
    return faults


def _degradation(training: Training) -> Iterator[Fault]:
    params = training.params
    relative = params.maximal_relative_accuracy_degradation
    absolute = params.maximal_absolute_accuracy_degradation
    if relative is None and absolute is None:
        message = (
            f"says nothing about how much accuracy may be lost; add {_RELATIVE} "
            f"(percent of the baseline) or {_ABSOLUTE} (in the metric's units)"
        )
        yield Fault(training.path, message, at_key=True)
    elif relative is not None and absolute is not None:
        message = f"{absolute:g} is given besides {_RELATIVE} {relative:g}; keep one of the two"
        yield Fault((*training.path, _ABSOLUTE), message, at_key=True)


def _search(training: Training) -> Iterator[Fault]:
    params, path = training.params, training.path
    if not isinstance(params, AdaptiveParams):
        return
    smallest, first = params.minimal_compression_rate_step, params.initial_compression_rate_step
    if smallest > first:
        why = "the search would end before its first step"
        if "minimal_compression_rate_step" in training.given:
            message = f"{smallest:g} is above initial_compression_rate_step {first:g}; {why}"
            yield Fault((*path, "minimal_compression_rate_step"), message)
        else:
            message = f"{first:g} is below minimal_compression_rate_step {smallest:g}; {why}"
            yield Fault((*path, "initial_compression_rate_step"), message)
    lowest, highest = params.minimal_compression_rate, params.maximal_compression_rate
    if lowest > highest:
        message = f"{lowest:g} is above maximal_compression_rate {highest:g}"
        yield Fault((*path, "minimal_compression_rate"), message)
    total, initial = params.maximal_total_epochs, params.initial_training_phase_epochs
    if total < initial:
        message = (
            f"{total} is below initial_training_phase_epochs {initial}; it counts the initial "
            f"phase too"
        )
        yield Fault((*path, "maximal_total_epochs"), message)


def _mix(training: Training | None, algorithms: Sequence[Algorithm]) -> Iterator[Fault]:
    """Each algorithm against the first one; this version has only such as exclude each other."""
    if not algorithms:
        return
    first, *others = algorithms
    for other in others:
        name, rival = other.config.algorithm, first.config.algorithm
        if name == rival:
            message = f"{name} is given twice; put all of it into one entry"
        elif training is not None and isinstance(training.params, EarlyExitParams):
            message = f"{name} together with {rival} is not supported by this version; keep one"
        else:
            message = (
                f"{name} can't go together with {rival}: both have a level that the search "
                f"would have to set; keep one"
            )
        yield Fault((*other.path, "algorithm"), message)


def _multistep(algorithm: Algorithm) -> Iterator[Fault]:
    config = algorithm.config
    if not isinstance(config, MagnitudeSparsityConfig) or config.params.schedule != "multistep":
        return
    steps, levels = config.params.multistep_steps, config.params.multistep_sparsity_levels
    key = "multistep_sparsity_levels" if "multistep_sparsity_levels" in algorithm.given else None
    if len(levels) != len(steps) + 1:
        message = (
            f"{len(levels)} levels for {len(steps)} multistep_steps; there must be one level "
            f"more than steps, {len(steps) + 1}"
        )
        yield Fault(algorithm.at(key or "multistep_steps"), message)
    if not rising(steps):
        message = f"{list(steps)} must rise from entry to entry"
        yield Fault(algorithm.at("multistep_steps"), message)
    if any(later < earlier for earlier, later in pairwise(levels)):
        message = f"{list(levels)} must not fall from entry to entry"
        yield Fault(algorithm.at("multistep_sparsity_levels"), message)


def _levels(algorithm: Algorithm) -> Iterator[Fault]:
    """The initial level against the target."""
    config = algorithm.config
    if config.params.schedule in ("baseline", "multistep"):
        return
    pruning = isinstance(config, FilterPruningConfig)
    key = "pruning_init" if pruning else "sparsity_init"
    init = config.pruning_init if isinstance(config, FilterPruningConfig) else config.sparsity_init
    target_key = _target_key(algorithm)
    target: float = getattr(config.params, target_key)
    place, limit = (*algorithm.path, key), algorithm.named(target_key, f"{target:g}")
    if init > target:
        yield Fault(place, f"{init:g} is above {limit}")
    elif config.params.schedule == "exponential_with_bias" and 0.75 * target <= init < target:
        message = (
            f"{init:g} is not below {0.75 * target:g}, three quarters of {limit}, "
            f"as schedule exponential_with_bias needs"
        )
        yield Fault(place, message)


def _freeze(algorithm: Algorithm) -> Iterator[Fault]:
    config = algorithm.config
    if not isinstance(config, MagnitudeSparsityConfig):
        return
    needed = schedule_of(config).epochs_to_target
    freeze = config.params.sparsity_freeze_epoch
    if needed is not None and freeze < needed:
        key = _length_key(algorithm)
        at = algorithm.named("sparsity_freeze_epoch", freeze)
        message = (
            f"the target is reached in epoch {needed - 1}, but {at} stops the level before; "
            f"it must be at least {needed}"
        )
        place = "sparsity_freeze_epoch" if "sparsity_freeze_epoch" in algorithm.given else key
        yield Fault(algorithm.at(place), message)


def _length(training: Training, algorithm: Algorithm) -> Iterator[Fault]:
    """The schedule must reach its target while it is followed."""
    needed = schedule_of(algorithm.config).epochs_to_target
    params = training.params
    if isinstance(params, AdaptiveParams):
        key, available = "initial_training_phase_epochs", params.initial_training_phase_epochs
    else:
        key, available = "maximal_total_epochs", params.maximal_total_epochs
    if needed is not None and needed > available:
        own = _length_key(algorithm)
        value = getattr(algorithm.config.params, own)
        shown = list(value) if isinstance(value, tuple) else value
        message = (
            f"the schedule needs {needed} epochs to reach its target ("
            f"{algorithm.named(own, shown)}), but {key} is {available}"
        )
        yield Fault(algorithm.at(own), message)


def _bounds(training: Training, algorithm: Algorithm) -> Iterator[Fault]:
    params = training.params
    if not isinstance(params, AdaptiveParams):
        return
    target, key = schedule_of(algorithm.config).target, _target_key(algorithm)
    lowest, highest = params.minimal_compression_rate, params.maximal_compression_rate
    if lowest > highest:  # said already
        return
    default = "" if key in algorithm.given else " (the default)"
    if target > highest:
        message = f"the target {target:g}{default} is above maximal_compression_rate {highest:g}"
        yield Fault(algorithm.at(key), message)
    elif target < lowest:
        message = f"the target {target:g}{default} is below minimal_compression_rate {lowest:g}"
        yield Fault(algorithm.at(key), message)
    elif target == 0 and lowest == 0:
        yield warning(algorithm.at(key), "the target is 0: the initial phase compresses nothing")


def _target_key(algorithm: Algorithm) -> str:
    config = algorithm.config
    if isinstance(config, FilterPruningConfig):
        by_flops = config.params.pruning_flops_target is not None
        return "pruning_flops_target" if by_flops else "pruning_target"
    multistep = config.params.schedule == "multistep"
    return "multistep_sparsity_levels" if multistep else "sparsity_target"


def _length_key(algorithm: Algorithm) -> str:
    """The key that says most about how long the schedule takes."""
    config = algorithm.config
    if isinstance(config, FilterPruningConfig):
        return "num_init_steps" if config.params.schedule == "baseline" else "pruning_steps"
    multistep = config.params.schedule == "multistep"
    return "multistep_steps" if multistep else "sparsity_target_epoch"


def rising(values: Sequence[int]) -> bool:
    """Whether each is above the one before."""
    return all(earlier < later for earlier, later in pairwise(values))
