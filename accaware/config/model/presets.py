"""What `preset` in `accuracy_aware_training` stands for: keys that a config doesn't give itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_Keys = Mapping[str, Any]
"""Keys and values as a config's file has them, objects within objects."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Each key counts where the config doesn't give it, and where it has an effect.

    Attributes:
        params: of the search, by its mode.
        algorithms: of an entry of `compression`, by its algorithm.
        added: entries of `compression` for configs that have none of the same algorithm.
    """

    params: Mapping[str, _Keys] = field(default_factory=dict)
    algorithms: Mapping[str, _Keys] = field(default_factory=dict)
    added: tuple[_Keys, ...] = ()


_SAMPLES = 512
"""Of training data, to look at behind a cut; a forward pass over them takes little of an epoch."""

_ADAPTED: _Keys = {"initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": _SAMPLES}}}

PRESETS: dict[str, Preset] = {
    "recommended": Preset(
        params={
            "adaptive_compression_level": {"strategy": "ramp", "weight_averaging": "polynomial"},
            "early_exit": {"weight_averaging": "polynomial"},
        },
        algorithms={
            "filter_pruning": {**_ADAPTED, "params": {"reconstruction_samples": _SAMPLES}},
            "magnitude_sparsity": _ADAPTED,
        },
        added=(
            {
                "algorithm": "knowledge_distillation",
                "type": "auto",
                # 0.3 of the loss and 0.7 of the distillation, as a factor on the latter.
                "scale": 2.33,
                "temperature": 2.0,
            },
        ),
    ),
}
"""By name; the schema's enum of `preset` has the same names."""
