"""A model's quantizers as plain data: what a file holds beside integer weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from accaware.pytorch.quantization.attach import Quantizers, attach, weight_name
from accaware.pytorch.quantization.quantizers import ActivationQuantizer, WeightQuantizer

_WEIGHT = {each.name for each in fields(WeightQuantizer)}
_ACTIVATION = {each.name for each in fields(ActivationQuantizer)} - {"observer"}


def integer_weights(
    model: nn.Module, quantizers: Quantizers
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The quantized weights as int8, by their parameters' names, and a record of all quantizers.

    A weight that another layer shares without quantizing it, or quantizing it otherwise, stays as
    it is.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    by_name = {
        weight_name(place, parameters): quantizer for place, quantizer in quantizers.weights.items()
    }
    users: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        users.setdefault(id(parameter), []).append(name)
    integers: dict[str, Tensor] = {}
    weights: dict[str, Any] = {}
    for place, quantizer in quantizers.weights.items():
        name = weight_name(place, parameters)
        made = quantizer.integers(parameters[name])
        if all(by_name.get(user) == quantizer for user in users[id(parameters[name])]):
            integers[name] = made.values
        weights[place] = {
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


def quantized_weight(integers: Tensor, entry: Mapping[str, Any]) -> Tensor:
    """The float weight that a file's integers stand for."""
    shape = [1] * integers.dim()
    if entry["axis"] is not None:
        shape[entry["axis"]] = -1
    scale, zero_point = entry["scale"].view(shape), entry["zero_point"].view(shape)
    weight: Tensor = scale * (integers.to(torch.int32) - zero_point).to(scale.dtype)
    return weight


def check_record(record: Any) -> None:
    """Look at every type and bound in what a file has for a record.

    Raises:
        ValueError: it is none.
    """
    if not (
        isinstance(record, dict)
        and record.keys() == {"weights", "activations"}
        and isinstance(record["weights"], dict)
        and isinstance(record["activations"], list)
    ):
        raise ValueError("its quantizers are no record of any")
    for layer, entry in record["weights"].items():
        if not (isinstance(layer, str) and isinstance(entry, dict) and _is_weight(entry)):
            raise ValueError(f"its quantizer of {layer}'s weight is none")
    for entry in record["activations"]:
        if not (isinstance(entry, dict) and _is_activation(entry)):
            raise ValueError("one of its quantizers of activations is none")


def record_misfits(
    record: Mapping[str, Any], model: nn.Module, state: Mapping[str, Any]
) -> Iterator[str]:
    """What keeps a record that was checked from a model.

    Args:
        state: the file's state dict, which fits the model.
    """
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for place, entry in record["weights"].items():
        name = weight_name(place, parameters)
        if name not in parameters:
            yield f"{name}: quantized in the file, and no parameter of this model"
            continue
        shape, scales, axis = state[name].shape, list(entry["scale"].shape), entry["axis"]
        if axis is not None and scales != list(shape[axis : axis + 1]):
            yield f"{name}: {list(shape)} with {scales} scales along dimension {axis} in the file"
    for entry in record["activations"]:
        if entry["module"] not in modules:
            yield f"{entry['module']}: quantized in the file, and not in the model"


def _is_weight(entry: Mapping[str, Any]) -> bool:
    axis, scale, zero_point = (entry.get(part) for part in ("axis", "scale", "zero_point"))
    return (
        entry.keys() == _WEIGHT
        and (axis is None or (type(axis) is int and axis >= 0))
        and _is_numbers(scale)
        and _is_numbers(zero_point)
        and scale.is_floating_point()
        and zero_point.dtype == torch.int32
        and scale.shape == zero_point.shape
        and scale.dim() == (axis is not None)
        and _are_bounds(entry["low"], entry["high"])
    )


def _is_activation(entry: Mapping[str, Any]) -> bool:
    return (
        entry.keys() == _ACTIVATION
        and isinstance(entry["module"], str)
        and entry["side"] in ("input", "output")
        and (entry["signed"] is None or type(entry["signed"]) is bool)
        and (entry["scale"] is None or type(entry["scale"]) is float)
        and _are_bounds(entry["low"], entry["zero_point"], entry["high"])
    )


def _is_numbers(value: Any) -> TypeGuard[Tensor]:
    return type(value) is Tensor and value.device.type == "cpu" and value.layout is torch.strided


def _are_bounds(*ascending: Any) -> bool:
    """As the operators that round take them: whole numbers of a byte, signed or not."""
    whole = all(type(number) is int and -128 <= number <= 255 for number in ascending)
    return whole and list(ascending) == sorted(ascending)


def attach_recorded(model: nn.Module, record: Mapping[str, Any]) -> None:
    """Put the quantizers of a file on a model that they fit and that has the file's weights."""
    weights = {layer: WeightQuantizer(**entry) for layer, entry in record["weights"].items()}
    activations = tuple(ActivationQuantizer(**entry) for entry in record["activations"])
    attach(model, Quantizers(weights, activations))
