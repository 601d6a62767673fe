"""Rules across the keys that say which filters go."""

from __future__ import annotations

from collections.abc import Iterator

from accaware.config.model.config import FilterPruningConfig
from accaware.config.rules.checked_sections import Algorithm
from accaware.config.text.fault import Fault


def filter_pruning_faults(algorithm: Algorithm) -> Iterator[Fault]:
    """All faults between them; none where the algorithm is another one."""
    config = algorithm.config
    if isinstance(config, FilterPruningConfig):
        yield from _two_allocations(algorithm, config)
        yield from _learned_before_training(algorithm, config)


def _two_allocations(algorithm: Algorithm, config: FilterPruningConfig) -> Iterator[Fault]:
    params, keys = config.params, {"all_weights", "allocation"}
    across = params.all_weights
    if not keys <= algorithm.given or not algorithm.knows(*keys):
        return
    if across != (params.allocation == "global"):
        means = "means allocation global" if across else "excludes allocation global"
        message = (
            f"all_weights {str(across).lower()} {means}, and allocation is {params.allocation}"
        )
        yield Fault(algorithm.at("all_weights"), f"{message}; keep one of the two", at_key=True)


def _learned_before_training(algorithm: Algorithm, config: FilterPruningConfig) -> Iterator[Fault]:
    params = config.params
    learned = params.interlayer_ranking_type == "learned_ranking"
    if params.filter_importance != "taylor" or not learned:
        return
    if algorithm.knows("filter_importance", "interlayer_ranking_type"):
        message = (
            "taylor needs gradients of the training, before which interlayer_ranking_type "
            "learned_ranking learns; use L1, L2 or geometric_median, or allocation cost_aware "
            "without learned_ranking"
        )
        key = "filter_importance" if "filter_importance" in algorithm.given else "weight_importance"
        yield Fault(algorithm.at(key), message)
