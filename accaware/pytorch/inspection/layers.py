"""Parameters, operations and time of a model, layer by layer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from accaware.pytorch.data.stopwatch import now
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.results.inspection import LayerCost

_FORWARDS = 7
_SECONDS = 5.0
"""At the most so many forwards, three at least, and between these as many as fit into the time."""


def layer_costs(
    model: nn.Module,
    inputs: ExampleInputs,
    flops: FlopsModel,
    device: torch.device,
    parts: Mapping[str, int],
) -> tuple[tuple[LayerCost, ...], float]:
    """The costs of each layer, and the seconds of a whole forward; the model is set to evaluate.

    A layer is a module without children, or with parameters of its own.

    Args:
        parts: the number of the part that a layer belongs to, by the layer's name.
    """
    layers = _layers(model)
    owned = _own_parameters(model)
    model.eval()
    whole = _forwards(model, inputs, device)
    times = _LayerTimes(layers, device)
    try:
        _forwards(model, inputs, device, times.new_forward)
    finally:
        times.remove()
    seconds = times.medians()
    costs = tuple(
        LayerCost(
            name=name or type(layer).__name__,
            kind=type(layer).__name__,
            parameters=owned[name],
            flops=flops.by_layer.get(name, 0),
            seconds=seconds.get(name),
            part=parts.get(name),
        )
        for name, layer in layers.items()
    )
    return costs, statistics.median(whole)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    return {
        name: module
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
        or any(True for _ in module.parameters(recurse=False))
    }


def _own_parameters(model: nn.Module) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        counts[name.rpartition(".")[0]] += parameter.numel()
    return counts


def _forwards(
    model: nn.Module,
    inputs: ExampleInputs,
    device: torch.device,
    before: Callable[[], object] = lambda: None,
) -> list[float]:
    """Seconds of each forward; the first one, which warms up, is left out.

    Args:
        before: called before each forward, the first one too.
    """
    seconds: list[float] = []
    with torch.no_grad():
        before()
        inputs.call(model)
        while len(seconds) < _FORWARDS and (len(seconds) < 3 or sum(seconds) < _SECONDS):
            before()
            began = now(device)
            inputs.call(model)
            seconds.append(now(device) - began)
    return seconds


class _LayerTimes:
    """Seconds of each layer in each forward, by hooks."""

    def __init__(self, layers: Mapping[str, nn.Module], device: torch.device) -> None:
        self._device = device
        self._forwards: list[dict[str, float]] = []
        self._begun: list[float] = []
        self._handles = [
            handle
            for name, layer in layers.items()
            for handle in (
                layer.register_forward_pre_hook(self._begin),
                layer.register_forward_hook(partial(self._end, name)),
            )
        ]

    def new_forward(self) -> None:
        self._forwards.append(defaultdict(float))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def medians(self) -> dict[str, float]:
        """Of each layer that is called at all, all its calls in a forward together."""
        _, *forwards = self._forwards  # the first one warms up
        names = {name for each in forwards for name in each}
        return {
            name: statistics.median(each[name] for each in forwards if name in each)
            for name in names
        }

    def _begin(self, *_: Any) -> None:
        self._begun.append(now(self._device))

    def _end(self, name: str, *_: Any) -> None:
        # Calls nest, so the last one that began is the first that ends.
        self._forwards[-1][name] += now(self._device) - self._begun.pop()
