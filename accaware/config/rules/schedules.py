"""Rules on the schedule of an algorithm with a level, by itself and against the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from accaware.config.model.config import (
    FilterPruningConfig,
    LevelledConfig,
    MagnitudeSparsityConfig,
)
from accaware.config.model.schedule import schedule_of
from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.rules.initial_phase import INITIAL_LEVELS, SCHEDULE_PARAMS
from accaware.config.text.fault import Fault, warning
from accaware.config.text.messages import listed
from accaware.search.params import AdaptiveParams


def schedule_faults(training: Training | None, algorithm: Algorithm) -> list[Fault]:
    """All faults of the schedule; none where the algorithm has no schedule."""
    config = algorithm.config
    if not isinstance(config, FilterPruningConfig | MagnitudeSparsityConfig):
        return []
    if not algorithm.knows("schedule"):
        return []
    own = [*_multistep(algorithm, config), *_levels(algorithm, config)]
    if own:  # it describes no schedule to compare with anything
        return own
    if training is not None and not training.follows_schedules:
        return [*_unused(training, algorithm)]
    faults = [*_freeze(algorithm, config)]
    if training is not None:
        faults += _length(training, algorithm, config)
        faults += _bounds(training, algorithm, config)
    return faults


def _unused(training: Training, algorithm: Algorithm) -> Iterator[Fault]:
    """What is given for a schedule that nobody follows."""
    places = {
        **{key: (*algorithm.path, key) for key in INITIAL_LEVELS},
        **{key: algorithm.at(key) for key in SCHEDULE_PARAMS},
    }
    given = [key for key in places if key in algorithm.given]
    if given:
        verb = "are" if len(given) > 1 else "is"
        message = (
            f"{listed(given, 'and')} {verb} ignored: with {training.without_initial_phase} there "
            "is no initial phase, which alone follows the schedule"
        )
        yield warning(places[given[0]], message)


def _multistep(algorithm: Algorithm, config: LevelledConfig) -> Iterator[Fault]:
    if not isinstance(config, MagnitudeSparsityConfig) or config.params.schedule != "multistep":
        return
    steps, levels = config.params.multistep_steps, config.params.multistep_sparsity_levels
    knows_steps = algorithm.knows("multistep_steps")
    knows_levels = algorithm.knows("multistep_sparsity_levels")
    about_steps, about_levels = [], []
    if knows_steps and not rising(steps):
        about_steps.append(f"{list(steps)} must rise from entry to entry")
    if knows_levels and any(later < earlier for earlier, later in pairwise(levels)):
        about_levels.append(f"{list(levels)} must not fall from entry to entry")
    if knows_steps and knows_levels and len(levels) != len(steps) + 1:
        given = "multistep_sparsity_levels" in algorithm.given
        (about_levels if given else about_steps).append(
            f"{len(levels)} levels for {len(steps)} multistep_steps; there must be one level "
            f"more than steps, {len(steps) + 1}"
        )
    for key, found in (
        ("multistep_steps", about_steps),
        ("multistep_sparsity_levels", about_levels),
    ):
        if found:
            yield Fault(algorithm.at(key), "; and ".join(found))


def _levels(algorithm: Algorithm, config: LevelledConfig) -> Iterator[Fault]:
    """The initial level against the target."""
    if config.params.schedule in ("baseline", "multistep"):
        return
    pruning = isinstance(config, FilterPruningConfig)
    key = "pruning_init" if pruning else "sparsity_init"
    target_key = _target_key(config)
    if not algorithm.knows(key, target_key):
        return
    init = config.pruning_init if isinstance(config, FilterPruningConfig) else config.sparsity_init
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


def _freeze(algorithm: Algorithm, config: LevelledConfig) -> Iterator[Fault]:
    if not isinstance(config, MagnitudeSparsityConfig):
        return
    if not algorithm.knows("sparsity_freeze_epoch"):
        return
    needed = _epochs_to_target(algorithm, config)
    freeze = config.params.sparsity_freeze_epoch
    if needed is not None and freeze < needed:
        at = algorithm.named("sparsity_freeze_epoch", freeze)
        message = (
            f"the target is reached in epoch {needed - 1}, but {at} stops the level before; "
            f"it must be at least {needed}"
        )
        given = "sparsity_freeze_epoch" in algorithm.given
        place = "sparsity_freeze_epoch" if given else _length_keys(config)[0]
        yield Fault(algorithm.at(place), message)


def _length(training: Training, algorithm: Algorithm, config: LevelledConfig) -> Iterator[Fault]:
    """The schedule must reach its target while it is followed."""
    params = training.params
    if isinstance(params, AdaptiveParams):
        key, available = "initial_training_phase_epochs", params.initial_epochs
    else:
        key, available = "maximal_total_epochs", params.maximal_total_epochs
    needed = _epochs_to_target(algorithm, config)
    if training.knows(key) and needed is not None and needed > available:
        own = _length_keys(config)[0]
        value = getattr(config.params, own)
        shown = list(value) if isinstance(value, tuple) else value
        message = (
            f"the schedule needs {needed} epochs to reach its target ("
            f"{algorithm.named(own, shown)}), but {key} is {available}"
        )
        yield Fault(algorithm.at(own), message)


def _bounds(training: Training, algorithm: Algorithm, config: LevelledConfig) -> Iterator[Fault]:
    params, key = training.params, _target_key(config)
    rates = ("minimal_compression_rate", "maximal_compression_rate")
    if not isinstance(params, AdaptiveParams) or not training.knows(*rates):
        return
    lowest, highest = params.minimal_compression_rate, params.maximal_compression_rate
    if lowest > highest or not algorithm.knows(key):  # said already
        return
    target = _target(config)
    default = "" if key in algorithm.given else " (the default)"
    if target > highest:
        message = f"the target {target:g}{default} is above maximal_compression_rate {highest:g}"
        yield Fault(algorithm.at(key), message)
    elif target < lowest:
        message = f"the target {target:g}{default} is below minimal_compression_rate {lowest:g}"
        yield Fault(algorithm.at(key), message)
    elif target == 0 and lowest == 0:
        yield warning(algorithm.at(key), "the target is 0: the initial phase compresses nothing")


def _target_key(config: LevelledConfig) -> str:
    if isinstance(config, FilterPruningConfig):
        by_flops = config.params.pruning_flops_target is not None
        return "pruning_flops_target" if by_flops else "pruning_target"
    multistep = config.params.schedule == "multistep"
    return "multistep_sparsity_levels" if multistep else "sparsity_target"


def _target(config: LevelledConfig) -> float:
    value = getattr(config.params, _target_key(config))
    target: float = value[-1] if isinstance(value, tuple) else value
    return target


def _length_keys(config: LevelledConfig) -> tuple[str, ...]:
    """The keys that say how long the schedule takes, the most telling one first."""
    if isinstance(config, FilterPruningConfig):
        if config.params.schedule == "baseline":
            return ("num_init_steps",)
        return ("pruning_steps", "num_init_steps")
    multistep = config.params.schedule == "multistep"
    return ("multistep_steps",) if multistep else ("sparsity_target_epoch",)


def _epochs_to_target(algorithm: Algorithm, config: LevelledConfig) -> int | None:
    """None where it can't be known."""
    # Only a start too high for its target makes no schedule, and then one of both is faulty.
    level_keys = ("pruning_init", "pruning_target", "pruning_flops_target")
    if not algorithm.knows(*_length_keys(config), *level_keys):
        return None
    return schedule_of(config).epochs_to_target


def rising(values: Sequence[int]) -> bool:
    """Whether each is above the one before."""
    return all(earlier < later for earlier, later in pairwise(values))
