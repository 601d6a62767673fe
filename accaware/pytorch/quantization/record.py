"""A model's quantizers as plain data: what a file holds beside integer weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError
from accaware.pytorch.quantization.attach import Quantizers, attach
from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer


def integer_weights(
    model: nn.Module, quantizers: Quantizers
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The rounded weights as int8, by their parameters' names, and a record of all quantizers.

    A weight that another layer shares without rounding it, or rounding it otherwise, stays as it
    is.
    """
    modules = dict(model.named_modules())
    users: dict[int, list[str]] = {}
    for name, module in modules.items():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), []).append(name)
    integers: dict[str, Tensor] = {}
    weights: dict[str, Any] = {}
    for layer, quantizer in quantizers.weights.items():
        weight = modules[layer]._parameters["weight"]
        assert weight is not None
        made = quantizer.integers(weight)
        if all(quantizers.weights.get(user) == quantizer for user in users[id(weight)]):
            integers[f"{layer}.weight"] = made.values
        weights[layer] = {
            "bits": quantizer.bits,
            "low": quantizer.low,
            "high": quantizer.high,
            "axis": quantizer.axis,
            "symmetric": quantizer.symmetric,
            "scale": made.scale.clone(),
            "zero_point": made.zero_point.to(torch.int32),
        }
    activations = []
    for activation in quantizers.activations:
        entry = asdict(activation)
        del entry["observer"]
        activations.append(entry)
    return integers, {"weights": weights, "activations": activations}


def rounded_weight(integers: Tensor, entry: Mapping[str, Any]) -> Tensor:
    """The float weight that a file's integers stand for."""
    shape = [1] * integers.dim()
    if entry["axis"] is not None:
        shape[entry["axis"]] = -1
    scale, zero_point = entry["scale"].view(shape), entry["zero_point"].view(shape)
    weight: Tensor = scale * (integers.to(torch.int32) - zero_point).to(scale.dtype)
    return weight


def attach_recorded(model: nn.Module, record: Mapping[str, Any]) -> None:
    """Put the quantizers of a file on a model whose weights are those of the file.

    Raises:
        CheckpointError: the model lacks one of the modules.
    """
    modules = dict(model.named_modules())
    named = [*record["weights"], *(entry["module"] for entry in record["activations"])]
    missing = [name for name in named if name not in modules]
    if missing:
        raise CheckpointError(f"the model has no module {missing[0]!r}, which the file quantizes")
    weights = {layer: WeightQuantizer(**entry) for layer, entry in record["weights"].items()}
    activations = tuple(ActivationQuantizer(**entry) for entry in record["activations"])
    attach(model, Quantizers(weights, activations))
