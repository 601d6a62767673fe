"""The section `quantization` of a validated config, as frozen dataclasses that mirror the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accaware.config.model.initializers import BatchNormAdaptation


@dataclass(frozen=True, kw_only=True)
class RangeParams:
    """In percent of the values seen."""

    min_percentile: float = 0.1
    max_percentile: float = 99.9


@dataclass(frozen=True, kw_only=True)
class RangeInitializer:
    """How the ranges of some activations are found from samples of the training data.

    ``type`` is mixed_min_max, min_max, mean_min_max, threesigma, percentile or mean_percentile;
    ``params`` count for the last two. ``target_quantizer_group`` is weights, activations or None
    for both.
    """

    type: str = "mixed_min_max"
    num_init_samples: int = 256
    params: RangeParams = field(default_factory=RangeParams)
    target_quantizer_group: str | None = None
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True


@dataclass(frozen=True, kw_only=True)
class QuantizationInitializer:
    """``range`` has one entry for all, or several with scopes; the first that fits counts."""

    batchnorm_adaptation: BatchNormAdaptation | None = None
    range: tuple[RangeInitializer, ...] = (RangeInitializer(),)


@dataclass(frozen=True, kw_only=True)
class WeightsQuantization:
    """``mode`` None is the preset's."""

    mode: str | None = None
    bits: int = 8
    per_channel: bool = True
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True


@dataclass(frozen=True, kw_only=True)
class ActivationsQuantization:
    """``mode`` None is the preset's; ``signed`` None is found from the data."""

    mode: str | None = None
    bits: int = 8
    signed: bool | None = None
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True


@dataclass(frozen=True, kw_only=True)
class OverrideInitializer:
    """How ranges are found in one scope; None is as everywhere else."""

    range: tuple[RangeInitializer, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class WeightOverride:
    """What is different in one scope; None is as everywhere else."""

    mode: str | None = None
    bits: int | None = None
    per_channel: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ActivationOverride:
    """What is different in one scope; None is as everywhere else."""

    mode: str | None = None
    bits: int | None = None
    signed: bool | None = None
    initializer: OverrideInitializer = field(default_factory=OverrideInitializer)


@dataclass(frozen=True, kw_only=True)
class ScopeOverrides:
    """Settings by scope."""

    weights: Mapping[str, WeightOverride] = field(default_factory=dict)
    activations: Mapping[str, ActivationOverride] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuantizationConfig:
    """A section `quantization`: weights and activations in few bits."""

    algorithm: str = "quantization"
    preset: str = "performance"
    quantize_inputs: bool = True
    quantize_outputs: bool = False
    quantize_embeddings: bool = False
    overflow_fix: str = "enable"
    weights: WeightsQuantization = field(default_factory=WeightsQuantization)
    activations: ActivationsQuantization = field(default_factory=ActivationsQuantization)
    scope_overrides: ScopeOverrides = field(default_factory=ScopeOverrides)
    initializer: QuantizationInitializer = field(default_factory=QuantizationInitializer)
    ignored_scopes: tuple[str, ...] = ()
    target_scopes: tuple[str, ...] | None = None
    validate_scopes: bool = True

    @property
    def weights_mode(self) -> str:
        """Of weights: symmetric or asymmetric."""
        return self.weights.mode or "symmetric"

    @property
    def activations_mode(self) -> str:
        """Of activations: symmetric or asymmetric."""
        return self.activations.mode or ("asymmetric" if self.preset == "mixed" else "symmetric")
