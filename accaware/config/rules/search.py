"""Rules across the keys of the search's parameters, and the one door to all rules.

Each rule looks at keys that are right in themselves and yields faults; where one of its keys is
faulty it says nothing, as there is nothing to judge yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.rules.filter_pruning import filter_pruning_faults
from accaware.config.rules.magnitude_sparsity import magnitude_sparsity_faults
from accaware.config.rules.schedules import schedule_faults
from accaware.config.text.fault import Fault
from accaware.search.params import AdaptiveParams

_RELATIVE = "maximal_relative_accuracy_degradation"
_ABSOLUTE = "maximal_absolute_accuracy_degradation"


def search_faults(training: Training | None, algorithms: Sequence[Algorithm]) -> list[Fault]:
    """All faults between the search and what it compresses with."""
    faults: list[Fault] = []
    if training is not None:
        faults += _degradation(training)
        faults += _steps(training)
        faults += _rates(training)
        faults += _epochs(training)
        faults += _parallel(training)
    # By another strategy the schedule may be without use.
    known = training if training is not None and training.knows("strategy") else None
    for algorithm in algorithms:
        faults += schedule_faults(known, algorithm)
        faults += filter_pruning_faults(algorithm)
        faults += magnitude_sparsity_faults(training, algorithm)
    return faults


def engine_faults(engine: object, training: Training | None) -> Iterator[Fault]:
    """Whether there is anything that Ray could run at a time."""
    if engine != "ray" or training is None or not training.knows("parallel_trials", "strategy"):
        return
    if training.params.parallel_trials == 1:
        message = (
            "ray runs trials at the same time, and there is one at a time; set parallel_trials of "
            "mode adaptive_compression_level with strategy ramp to 2 or more"
        )
        yield Fault(("engine",), message)


def _degradation(training: Training) -> Iterator[Fault]:
    params = training.params
    relative = params.maximal_relative_accuracy_degradation
    absolute = params.maximal_absolute_accuracy_degradation
    if _RELATIVE in training.given and _ABSOLUTE in training.given:
        other = "" if relative is None else f" {relative:g}"
        mine = "it" if absolute is None else f"{absolute:g}"
        message = f"{mine} is given besides {_RELATIVE}{other}; keep one of the two"
        yield Fault((*training.path, _ABSOLUTE), message, at_key=True)
    elif relative is None and absolute is None and training.knows(_RELATIVE, _ABSOLUTE):
        message = (
            f"says nothing about how much accuracy may be lost; add {_RELATIVE} "
            f"(percent of the baseline) or {_ABSOLUTE} (in the metric's units)"
        )
        yield Fault(training.path, message, at_key=True)


def _steps(training: Training) -> Iterator[Fault]:
    params, path = training.params, training.path
    keys = ("minimal_compression_rate_step", "initial_compression_rate_step")
    if not isinstance(params, AdaptiveParams) or not training.knows(*keys, "strategy"):
        return
    if params.strategy == "ramp":  # which has no first step
        return
    smallest, first = params.minimal_compression_rate_step, params.initial_compression_rate_step
    if smallest <= first:
        return
    why = "the search would end before its first step"
    if "minimal_compression_rate_step" in training.given:
        message = f"{smallest:g} is above initial_compression_rate_step {first:g}; {why}"
        yield Fault((*path, "minimal_compression_rate_step"), message)
    else:
        message = f"{first:g} is below minimal_compression_rate_step {smallest:g}; {why}"
        yield Fault((*path, "initial_compression_rate_step"), message)


def _parallel(training: Training) -> Iterator[Fault]:
    params = training.params
    if not isinstance(params, AdaptiveParams) or not training.knows("parallel_trials", "strategy"):
        return
    if params.parallel_trials > 1 and params.strategy != "ramp":
        message = (
            f"{params.parallel_trials} trials at a time are for strategy ramp, which has a bracket "
            f"to cut; each step of {params.strategy} follows from the verdict of the one before"
        )
        yield Fault((*training.path, "parallel_trials"), message)


def _rates(training: Training) -> Iterator[Fault]:
    params = training.params
    keys = ("minimal_compression_rate", "maximal_compression_rate")
    if not isinstance(params, AdaptiveParams) or not training.knows(*keys):
        return
    lowest, highest = params.minimal_compression_rate, params.maximal_compression_rate
    if lowest > highest:
        message = f"{lowest:g} is above maximal_compression_rate {highest:g}"
        yield Fault((*training.path, keys[0]), message)


def _epochs(training: Training) -> Iterator[Fault]:
    params = training.params
    keys = ("maximal_total_epochs", "initial_training_phase_epochs")
    if not isinstance(params, AdaptiveParams) or not training.knows(*keys):
        return
    total, initial = params.maximal_total_epochs, params.initial_epochs
    if total >= initial:
        return
    if "maximal_total_epochs" in training.given:
        message = (
            f"{total} is below initial_training_phase_epochs {initial}; it counts the initial "
            f"phase too"
        )
        yield Fault((*training.path, "maximal_total_epochs"), message)
    else:
        message = f"{initial} is above maximal_total_epochs {total} (the default)"
        yield Fault((*training.path, "initial_training_phase_epochs"), message)
