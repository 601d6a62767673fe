"""The model as it is deployed: nothing of training is left in it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from accaware.pytorch.export.network.computed_weights import store_computed_weights
from accaware.pytorch.export.network.folding import QuantizedWeight, fold_batch_norms
from accaware.pytorch.export.network.quantization_language import (
    BasicOperators,
    Language,
    WrittenActivation,
    store_integers,
)
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.dataflow import trace
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import Quantizers, attach, detach, module_and_key
from accaware.pytorch.quantization.quantizers import ActivationQuantizer


def deployed(
    model: nn.Module, inputs: ExampleInputs, language: Language, *, fold: bool = True
) -> nn.Module:
    """A copy that computes the same when evaluated, for exporters.

    Weights that are quantized are int8 buffers, quantized activations are written in ``language``,
    parameters need no gradient.

    Args:
        model: compressed; quantizers that are attached to it count where they are active.
        inputs: to follow the model with.
        fold: put batch norms into the layers before them, and values in the place of weights
            that are computed.
    """
    own = copied(model).eval().requires_grad_(False)
    quantizers = detach(own)
    quantized: dict[str, QuantizedWeight] = {}
    activations: list[ActivationQuantizer] = []
    if quantizers is not None and quantizers.active:
        modules = dict(own.named_modules())
        for place, quantizer in quantizers.weights.items():
            layer, key = module_and_key(modules, place)
            quantized[place] = QuantizedWeight.of(layer.get_parameter(key), quantizer)
        activations = list(quantizers.activations)
    if fold:
        store_computed_weights(own)
        # Followed with all that is quantized in place, and changed without: a batch norm whose
        # output is quantized goes, and the quantization stays.
        attach(own, _written(activations, BasicOperators()))
        flow = trace(own, inputs)
        detach(own)
        fold_batch_norms(own, inputs, flow, quantized)
    attach(own, _written(activations, language))
    scales = [each.scale for each in activations if each.scale is not None]
    modules = dict(own.named_modules())
    for place, weight in quantized.items():
        layer, key = module_and_key(modules, place)
        bias = layer._parameters.get("bias")
        if bias is not None and bias.shape != weight.integers.scale.shape:
            bias = None  # of a module that has other weights
        stored = language.stored(weight.integers, weight.axis, bias, min(scales, default=1.0))
        store_integers(layer, key, stored, weight.axis, language)
    return own


def _written(activations: Sequence[ActivationQuantizer], language: Language) -> Quantizers:
    return Quantizers({}, [WrittenActivation.of(each, language) for each in activations])
