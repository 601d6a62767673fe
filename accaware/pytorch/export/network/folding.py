"""Batch norms that become part of the layer before them: when evaluated, they are one line.

Jacob et al. (2018), section 3.2: with f = gamma / sqrt(variance + epsilon), the layer's weight is
multiplied by f and its bias becomes beta + (bias - mean) f. A weight that is stored as integers
keeps them, and its scales take f.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accaware.pytorch.export.network.line import Line, scale_layer
from accaware.pytorch.export.network.proof import LAYERS, calls_of, is_line, takes_line
from accaware.pytorch.model.dataflow import Dataflow, ModuleCall
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.quantizers import Integers, WeightQuantizer


@dataclass
class QuantizedWeight:
    """A layer's weight as integers.

    Attributes:
        integers: with a scale of each channel.
        axis: the dimension of the channels.
    """

    integers: Integers
    axis: int

    @classmethod
    def of(cls, weight: Tensor, quantizer: WeightQuantizer) -> QuantizedWeight:
        """The integers of a weight; one scale for all channels becomes one for each."""
        made = quantizer.integers(weight)
        if quantizer.axis is not None:
            return cls(made, quantizer.axis)
        scale, zero_point = made.scale.repeat(len(weight)), made.zero_point.repeat(len(weight))
        return cls(Integers(made.values, scale, zero_point), 0)


def fold_batch_norms(
    model: nn.Module,
    inputs: ExampleInputs,
    flow: Dataflow,
    quantized: Mapping[str, QuantizedWeight],
) -> list[str]:
    """Put each batch norm into the layer that it alone reads, and an identity in its place.

    Both must have proven to be what their class says: see ``proof``.

    Args:
        model: in evaluation mode; changed in place.
        inputs: of its forward.
        flow: of that forward, with activations quantized as they are going to be.
        quantized: weights that will be stored as integers, by their layers; changed in place.

    Returns:
        The names of the batch norms that are gone.
    """
    modules = dict(model.named_modules())
    folded = []
    pairs = list(_pairs(model, flow))
    calls = calls_of(model, {name for pair in pairs for name in pair}, inputs)
    for layer_name, norm_name in pairs:
        layer, norm = modules[layer_name], modules[norm_name]
        assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
        line = Line.of(norm)
        weight = quantized.get(layer_name)
        if (
            (weight is not None and not _takes(weight, line.factor))
            or not is_line(norm, line, calls[norm_name])
            or not takes_line(layer, line, calls[layer_name])
        ):
            continue
        if weight is not None:
            _scale_integers(weight, line.factor)
        scale_layer(layer, line)
        _become_identity(norm)
        folded.append(norm_name)
    return folded


def _pairs(model: nn.Module, flow: Dataflow) -> Iterator[tuple[str, str]]:
    """Layers, each with the batch norm that is the only reader of what it gives."""
    modules = dict(model.named_modules())
    shared = _shared_parameters(model)
    norms: dict[int, list[ModuleCall]] = {}
    for call in flow.calls:
        module = modules[call.module]
        if _keeps_statistics(module):
            norms.setdefault(call.inputs[0], []).append(call)
    for call in flow.calls:
        layer = modules[call.module]
        if not isinstance(layer, LAYERS) or call.output is None:
            continue
        weight = layer._parameters.get("weight")
        readers, following = flow.consumers(call.output), norms.get(call.output, [])
        if (
            len(readers) == len(following) == 1
            and call.output not in flow.model_outputs
            and flow.call_of(call.module) is call
            and flow.call_of(following[0].module) is following[0]
            and weight is not None
            and id(weight) not in shared
        ):
            yield call.module, following[0].module


def _shared_parameters(model: nn.Module) -> set[int]:
    seen: set[int] = set()
    twice: set[int] = set()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            (twice if id(parameter) in seen else seen).add(id(parameter))
    return twice


def _keeps_statistics(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
    )


def _become_identity(norm: nn.Module) -> None:
    """In place, as the norm may have several names, or be held where torch doesn't look."""
    norm.__class__ = nn.Identity
    for content in (norm._parameters, norm._buffers, norm._modules):
        content.clear()
    norm.__dict__.pop("forward", None)


def _takes(weight: QuantizedWeight, factor: Tensor) -> bool:
    """Whether the factor can go into the scales: integers can change their sign only about 0."""
    centred = not weight.integers.zero_point.any() and int(weight.integers.values.min()) > -128
    return weight.axis == 0 and (centred or bool((factor > 0).all()))


def _scale_integers(weight: QuantizedWeight, factor: Tensor) -> None:
    integers = weight.integers
    shape = (-1, *(1 for _ in integers.values.shape[1:]))
    scale = integers.scale
    # A channel that the batch norm multiplies by zero keeps a scale, and loses its integers.
    scaled = torch.where(factor == 0, scale, (scale * factor.abs()).to(scale.dtype))
    values = integers.values * factor.sign().to(torch.int8).view(shape)
    weight.integers = Integers(values, scaled, integers.zero_point)
