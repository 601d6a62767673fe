"""What is done to a model before it is trained: parts that several algorithms share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchNormAdaptation:
    """Re-estimate batch norm statistics on this many training samples; 0 turns it off."""

    num_bn_adaptation_samples: int = 2000


@dataclass(frozen=True, kw_only=True)
class Initializer:
    """``batchnorm_adaptation`` is None where the config doesn't ask for it."""

    batchnorm_adaptation: BatchNormAdaptation | None = None
