"""From the section of a config to the quantizers of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import nn

from accaware.config.model.quantization import QuantizationConfig, RangeInitializer
from accaware.errors import CompressionError
from accaware.pytorch.channels.layout import ExcludedLayer
from accaware.pytorch.model.dataflow import trace
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import TRANSPOSED
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.quantization.attach import Quantizers
from accaware.pytorch.quantization.placement import (
    ActivationPlace,
    ActivationPlaces,
    first_layers,
    quantizable_layers,
)
from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

T = TypeVar("T")


@dataclass(frozen=True)
class QuantizationPlan:
    """What is to be quantized.

    Attributes:
        ranges: how each activation's range is measured, in their order.
        excluded: what stays in floating point, with its reason.
    """

    quantizers: Quantizers
    ranges: tuple[RangeInitializer, ...]
    excluded: tuple[ExcludedLayer, ...]


def plan_quantization(
    model: nn.Module, config: QuantizationConfig, inputs: ExampleInputs
) -> QuantizationPlan:
    """Choose layers and activations, and how each is quantized.

    Args:
        model: it is not touched.
        inputs: to follow the model with.

    Raises:
        CompressionError: no layer is left to quantize.
        UsageError: a scope matches nothing.
    """
    flow = trace(model, inputs)
    chooser = _Chooser(model, config)
    layers, excluded = quantizable_layers(model, flow, chooser.spared(config.weights))
    if not layers:
        reasons = "; ".join(f"{entry.layer}: {entry.reason}" for entry in excluded[:3])
        raise CompressionError(
            f"no layer of {type(model).__name__} can be quantized "
            f"({reasons or 'it has no convolution and no linear layer'})"
        )
    places, staying = ActivationPlaces(
        flow,
        layers,
        chooser.spared(config.activations),
        quantize_inputs=config.quantize_inputs,
        quantize_outputs=config.quantize_outputs,
    ).find()
    first = first_layers(flow, layers)
    weights = {name: chooser.weight(name, first=name in first) for name in layers}
    return QuantizationPlan(
        Quantizers(weights, tuple(map(chooser.activation, places)), active=False),
        tuple(chooser.range_of(place) for place in places),
        (*excluded, *staying),
    )


class _Scoped(Protocol):
    """A section of the config with scopes."""

    @property
    def ignored_scopes(self) -> tuple[str, ...]: ...

    @property
    def target_scopes(self) -> tuple[str, ...] | None: ...

    @property
    def validate_scopes(self) -> bool: ...


class _Chooser:
    """Applies the section's scopes to a model's modules."""

    def __init__(self, model: nn.Module, config: QuantizationConfig) -> None:
        self._model = model
        self._config = config
        self._modules = dict(model.named_modules())
        self._whole = self._scopes(config)
        overrides = config.scope_overrides
        self._weights = self._by_scope(overrides.weights)
        self._activations = self._by_scope(overrides.activations)
        self._ranges = [(self._scopes(each), each) for each in config.initializer.range]

    def spared(self, part: _Scoped) -> dict[str, str]:
        """The modules that the whole section or this part of it leaves out, with the reason."""
        own = self._scopes(part)
        reasons = {
            name: self._whole.why_excluded(name) or own.why_excluded(name)
            for name in self._modules
            if name
        }
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def weight(self, name: str, *, first: bool) -> WeightQuantizer:
        config = self._config.weights
        override = _first(self._weights, name)
        bits = (override and override.bits) or config.bits
        mode = (override and override.mode) or self._config.weights_mode
        per_channel = config.per_channel
        if override is not None and override.per_channel is not None:
            per_channel = override.per_channel
        fix = self._config.overflow_fix
        axis = 1 if isinstance(self._modules[name], TRANSPOSED) else 0
        return WeightQuantizer.of(
            bits,
            symmetric=mode == "symmetric",
            axis=axis if per_channel else None,
            half_range=bits == 8 and (fix == "enable" or (fix == "first_layer_only" and first)),
        )

    def activation(self, place: ActivationPlace) -> ActivationQuantizer:
        config = self._config.activations
        override = _first(self._activations, place.module)
        mode = (override and override.mode) or self._config.activations_mode
        signed = config.signed
        if override is not None and override.signed is not None:
            signed = override.signed
        return ActivationQuantizer(
            place.module,
            place.side,
            (override and override.bits) or config.bits,
            mode == "symmetric",
            signed,
        )

    def range_of(self, place: ActivationPlace) -> RangeInitializer:
        """The first entry for activations that fits; the default where none does."""
        override = _first(self._activations, place.module)
        entries = self._ranges
        if override is not None and override.initializer.range is not None:
            entries = [(self._scopes(each), each) for each in override.initializer.range]
        for scopes, entry in entries:
            fits = not place.module or scopes.why_excluded(place.module) is None
            if fits and entry.target_quantizer_group != "weights":
                return entry
        return RangeInitializer()

    def _scopes(self, part: _Scoped) -> Scopes:
        return Scopes(
            self._model, part.target_scopes, part.ignored_scopes, validate=part.validate_scopes
        )

    def _by_scope(self, settings: Mapping[str, T]) -> list[tuple[Scopes, T]]:
        validate = self._config.validate_scopes
        return [
            (Scopes(self._model, [pattern], (), validate=validate), setting)
            for pattern, setting in settings.items()
        ]


def _first(scoped: Sequence[tuple[Scopes, T]], name: str) -> T | None:
    """The first setting whose scope means the module; none means the model itself."""
    fitting = (setting for scopes, setting in scoped if name and scopes.why_excluded(name) is None)
    return next(fitting, None)
