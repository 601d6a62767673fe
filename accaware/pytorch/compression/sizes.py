"""How big a model is now, against what it was when it was dense."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.channels.filters import FilterCount
from accaware.pytorch.channels.layout import ChannelGroup, KeptMasks
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.state.checkpoint import file_size
from accaware.results.layers import LayerSizes
from accaware.results.sizes import ModelSizes, Size


class SizeReference:
    """The dense model's numbers, taken before it is compressed.

    Args:
        model: still dense.
        flops: its operations.
        groups: coupled channels whose filters count besides those of convolutions.
    """

    def __init__(
        self, model: nn.Module, flops: FlopsModel, groups: Iterable[ChannelGroup] = ()
    ) -> None:
        self._flops = flops
        self._filters = FilterCount.of_model(model, groups)
        shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
        self._dense_parameters, self._dense_nonzero = _parameters(model)
        self._dense_filters = self._filters.count(shapes)
        self._dense_file = file_size(model, {})
        self._dense_layers = _layers(model, self._filters, flops)

    def compare(self, model: nn.Module, kept: KeptMasks) -> ModelSizes:
        """The model as it is now, with what it keeps, against the dense one."""
        shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
        parameters, nonzero = _parameters(model)
        return ModelSizes(
            parameters=Size(self._dense_parameters, parameters),
            nonzero_parameters=Size(self._dense_nonzero, nonzero),
            flops=Size(self._flops.dense, self._flops.count(shapes)),
            filters=Size(self._dense_filters, self._filters.count(shapes)),
            file_size=Size(self._dense_file, file_size(model, kept)),
        )

    def compare_layers(self, model: nn.Module) -> tuple[LayerSizes, ...]:
        """Each layer as it is now, against the dense one, in the order of the network."""
        now = _layers(model, self._filters, self._flops)
        return tuple(
            _compared(name, type(model.get_submodule(name)).__name__, dense, now[name])
            for name, dense in self._dense_layers.items()
            if name in now
        )

    def filters(self, model: nn.Module) -> dict[str, int]:
        """Of each layer that has some, as it is now, in the order of the network."""
        now = _filters(model, self._filters)
        return {name: now[name] for name in self._dense_layers if name in now}


@dataclass
class _Layer:
    """The counts of one layer, dense or as it is now."""

    parameters: int = 0
    nonzero_parameters: int = 0
    filters: int | None = None
    flops: int = 0


def _layers(model: nn.Module, filters: FilterCount, flops: FlopsModel) -> dict[str, _Layer]:
    """Layers with parameters, by name."""
    shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
    layers: dict[str, _Layer] = defaultdict(_Layer)
    for name, parameter in model.named_parameters():
        layer = layers[_owner(name)]
        layer.parameters += parameter.numel()
        layer.nonzero_parameters += int(parameter.count_nonzero())
    for name, kept in _filters(model, filters).items():
        layers[name].filters = kept
    for name, count in flops.count_by_layer(shapes).items():
        layers[name].flops += count
    return dict(layers)


def _filters(model: nn.Module, filters: FilterCount) -> dict[str, int]:
    """Of layers that have some, by name."""
    shapes = {name: tensor.shape for name, tensor in tensors_of(model).items()}
    found: dict[str, int] = defaultdict(int)
    for name, count in filters.by_tensor(shapes).items():
        found[_owner(name)] += count
    return dict(found)


def _owner(tensor: str) -> str:
    """The layer that a tensor is of; a weight that is computed belongs to who reads it."""
    layer = tensor.rpartition(".")[0]
    return layer.partition(".parametrizations.")[0]


def _compared(name: str, kind: str, dense: _Layer, now: _Layer) -> LayerSizes:
    return LayerSizes(
        name=name or kind,
        kind=kind.removeprefix("Parametrized"),
        filters=None if dense.filters is None else Size(dense.filters, now.filters or 0),
        parameters=Size(dense.parameters, now.parameters),
        nonzero_parameters=Size(dense.nonzero_parameters, now.nonzero_parameters),
        flops=Size(dense.flops, now.flops),
    )


def _parameters(model: nn.Module) -> tuple[int, int]:
    """Elements of all parameters, and how many of them aren't zero."""
    parameters = list(model.parameters())
    return (
        sum(parameter.numel() for parameter in parameters),
        sum(int(parameter.count_nonzero()) for parameter in parameters),
    )
