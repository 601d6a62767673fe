"""The section `quantization` as settings: presets, defaults and overrides are resolved here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import nn

from accaware.config.model.quantization import QuantizationConfig, RangeInitializer
from accaware.pytorch.create.scopes import scopes_of
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.quantization.settings import (
    ActivationSettings,
    QuantizationSettings,
    RangeSettings,
    Scoped,
    WeightSettings,
)

T = TypeVar("T")


def quantization_settings_of(model: nn.Module, section: QuantizationConfig) -> QuantizationSettings:
    """What the section asks for, of this model.

    Raises:
        UsageError: a scope matches nothing.
    """
    return QuantizationSettings(
        scopes=scopes_of(model, section),
        weights=_weights(model, section),
        activations=_activations(model, section),
        quantize_inputs=section.quantize_inputs,
        quantize_outputs=section.quantize_outputs,
        quantize_embeddings=section.quantize_embeddings,
        overflow_fix=section.overflow_fix,
    )


def _weights(model: nn.Module, section: QuantizationConfig) -> Scoped[WeightSettings]:
    general = WeightSettings(
        bits=section.weights.bits,
        symmetric=section.weights_mode == "symmetric",
        per_channel=section.weights.per_channel,
    )
    overrides = {
        pattern: WeightSettings(
            bits=_either(override.bits, general.bits),
            symmetric=_either(override.mode, section.weights_mode) == "symmetric",
            per_channel=_either(override.per_channel, general.per_channel),
        )
        for pattern, override in section.scope_overrides.weights.items()
    }
    return Scoped(
        scopes=scopes_of(model, section.weights),
        general=general,
        overrides=_by_scope(model, overrides, validate=section.validate_scopes),
    )


def _activations(model: nn.Module, section: QuantizationConfig) -> Scoped[ActivationSettings]:
    general = ActivationSettings(
        bits=section.activations.bits,
        symmetric=section.activations_mode == "symmetric",
        signed=section.activations.signed,
        ranges=_ranges(model, section.initializer.range),
        default_range=_range(RangeInitializer()),
    )
    overrides = {
        pattern: ActivationSettings(
            bits=_either(override.bits, general.bits),
            symmetric=_either(override.mode, section.activations_mode) == "symmetric",
            signed=_either(override.signed, general.signed),
            ranges=(
                general.ranges
                if override.initializer.range is None
                else _ranges(model, override.initializer.range)
            ),
            default_range=general.default_range,
        )
        for pattern, override in section.scope_overrides.activations.items()
    }
    return Scoped(
        scopes=scopes_of(model, section.activations),
        general=general,
        overrides=_by_scope(model, overrides, validate=section.validate_scopes),
    )


def _either(own: T | None, general: T) -> T:
    """What an override says, and what counts everywhere where it says nothing."""
    return general if own is None else own


def _by_scope(
    model: nn.Module, settings: Mapping[str, T], *, validate: bool
) -> tuple[tuple[Scopes, T], ...]:
    return tuple(
        (Scopes(model, [pattern], (), validate=validate), each)
        for pattern, each in settings.items()
    )


def _ranges(
    model: nn.Module, entries: Sequence[RangeInitializer]
) -> tuple[tuple[Scopes, RangeSettings], ...]:
    """Those of activations: a weight's range is that of its values, and never measured."""
    scoped = [(scopes_of(model, entry), entry) for entry in entries]
    return tuple(
        (scopes, _range(entry))
        for scopes, entry in scoped
        if entry.target_quantizer_group != "weights"
    )


def _range(entry: RangeInitializer) -> RangeSettings:
    return RangeSettings(
        type=entry.type,
        samples=entry.num_init_samples,
        min_percentile=entry.params.min_percentile,
        max_percentile=entry.params.max_percentile,
    )
