"""Weights that an algorithm doesn't reach, listed with their reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import nn

from accaware.pytorch.channels.layout import ExcludedLayer

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


def uncovered_weights(
    model: nn.Module, covered: Collection[str], listed: Collection[str]
) -> Iterator[ExcludedLayer]:
    """The modules that have weights of their own which are neither covered nor listed.

    A weight is a parameter with more than one dimension that has a size; scales, biases and
    tokens are none.

    Args:
        covered: the names of parameters.
        listed: the names of modules that are listed already.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    known = {id(parameters[name]) for name in covered}
    for name, module in model.named_modules():
        # What a layer's weight is computed from is listed with the layer.
        layer = name.split(".parametrizations.")[0].removesuffix(".parametrizations")
        if layer in listed:
            continue
        weights = [
            key
            for key, parameter in module.named_parameters(recurse=False)
            if id(parameter) not in known and sum(size > 1 for size in parameter.shape) > 1
        ]
        if name and (weights or _is_integer(module)):
            yield ExcludedLayer(name, _reason(module, weights))
        elif weights:
            for key in weights:
                yield ExcludedLayer(key, "it is a parameter of the model itself, and of no layer")


def _is_integer(module: nn.Module) -> bool:
    """One of torch's own quantized layers, which keep their weights where nobody reaches them."""
    return hasattr(module, "_packed_params") and callable(getattr(module, "weight", None))


def _reason(module: nn.Module, weights: Collection[str]) -> str:
    if _is_integer(module):
        return "its weight is stored as integers already"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is scripted by torch.jit, and nobody sees what its layers do"
    if isinstance(module, _LOOKED_UP):
        return "it is an embedding: its weight is looked up, and not multiplied with"
    if isinstance(module, _RECURRENT):
        return "it is a recurrent layer, and neither a convolution nor a linear one"
    return (
        f"{' and '.join(weights)} of {type(module).__name__} is no convolution's or linear layer's"
    )
