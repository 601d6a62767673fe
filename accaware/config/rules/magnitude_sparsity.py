"""Rules across the keys of the section `magnitude_sparsity` and the search."""

from __future__ import annotations

from collections.abc import Iterator

from accaware.config.model.config import MagnitudeSparsityConfig
from accaware.config.rules.checked_sections import Algorithm, Training
from accaware.config.text.fault import Fault
from accaware.search.params import AdaptiveParams

_RATE = 0.5
"""Of a pattern: two of four."""


def magnitude_sparsity_faults(training: Training | None, algorithm: Algorithm) -> Iterator[Fault]:
    """A pattern fixes the rate; none where the algorithm is another one."""
    config = algorithm.config
    if not isinstance(config, MagnitudeSparsityConfig) or not algorithm.knows("sparsity_pattern"):
        return
    pattern, target = config.params.sparsity_pattern, config.params.sparsity_target
    if pattern == "unstructured":
        return
    if training is not None and isinstance(training.params, AdaptiveParams):
        message = (
            f'"{pattern}" fixes the rate at {_RATE:g}, and adaptive_compression_level searches '
            "one; use mode early_exit, or sparsity_pattern unstructured"
        )
        yield Fault(algorithm.at("sparsity_pattern"), message)
    if algorithm.knows("sparsity_target") and target != _RATE:
        message = f"{target:g} is not {_RATE:g}, the rate of sparsity_pattern {pattern}"
        yield Fault(algorithm.at("sparsity_target"), message)
