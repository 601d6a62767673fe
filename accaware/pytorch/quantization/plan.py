"""From settings to the quantizers of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from accaware.errors import CompressionError
from accaware.pytorch.channels.layout import ExcludedLayer
from accaware.pytorch.model.dataflow import trace
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.quantization.attach import Quantizers
from accaware.pytorch.quantization.placement import (
    ActivationPlace,
    ActivationPlaces,
    first_layers,
    quantizable_weights,
)
from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer
from accaware.pytorch.quantization.settings import (
    ActivationSettings,
    QuantizationSettings,
    RangeSettings,
    WeightSettings,
)
from accaware.pytorch.weights.left_out import why_excluded
from accaware.pytorch.weights.weights import Weight


@dataclass(frozen=True)
class QuantizationPlan:
    """What is to be quantized.

    Attributes:
        ranges: how each activation's range is measured, in their order.
        excluded: what stays in floating point, with its reason.
    """

    quantizers: Quantizers
    ranges: tuple[RangeSettings, ...]
    excluded: tuple[ExcludedLayer, ...]


def plan_quantization(
    model: nn.Module, settings: QuantizationSettings, inputs: ExampleInputs
) -> QuantizationPlan:
    """Choose layers and activations, and how each is quantized.

    Args:
        model: it is not touched.
        inputs: to follow the model with.

    Raises:
        CompressionError: no layer is left to quantize.
    """
    flow = trace(model, inputs)
    modules = dict(model.named_modules())
    weights, activations = settings.weights, settings.activations
    found = quantizable_weights(
        model,
        inputs,
        flow,
        [settings.scopes, weights.scopes],
        embeddings=settings.quantize_embeddings,
    )
    excluded, layers = found.excluded, found.layers
    if not found.places:
        reasons = "; ".join(f"{entry.layer}: {entry.reason}" for entry in excluded[:3])
        raise CompressionError(
            f"no layer of {type(model).__name__} can be quantized "
            f"({reasons or 'it has no convolution and no linear layer'})"
        )
    places, staying = ActivationPlaces(
        flow,
        layers,
        _spared(modules, [settings.scopes, activations.scopes]),
        quantize_inputs=settings.quantize_inputs,
        quantize_outputs=settings.quantize_outputs,
    ).find()
    fixed = {
        "enable": frozenset(layers),
        "first_layer_only": first_layers(flow, layers),
        "disable": frozenset[str](),
    }[settings.overflow_fix]
    quantizers = Quantizers(
        {
            place: _weight_quantizer(weight, weights.at(weight.layer), fixed=place in fixed)
            for place, weight in found.places.items()
        },
        tuple(_activation_quantizer(place, activations.at(place.module)) for place in places),
        active=False,
    )
    ranges = tuple(activations.at(place.module).range_at(place.module) for place in places)
    return QuantizationPlan(quantizers, ranges, (*excluded, *staying))


def _spared(names: Iterable[str], scopes: Sequence[Scopes]) -> dict[str, str]:
    """The modules that one of the scopes leaves out, with the reason."""
    reasons = {name: why_excluded(name, scopes) for name in names if name}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _weight_quantizer(weight: Weight, settings: WeightSettings, *, fixed: bool) -> WeightQuantizer:
    return WeightQuantizer.of(
        settings.bits,
        symmetric=settings.symmetric,
        axis=weight.outputs if settings.per_channel else None,
        half_range=fixed and settings.bits == 8,
    )


def _activation_quantizer(
    place: ActivationPlace, settings: ActivationSettings
) -> ActivationQuantizer:
    return ActivationQuantizer(
        place.module, place.side, settings.bits, settings.symmetric, settings.signed
    )
