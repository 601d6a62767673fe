"""How big a model is now, against what it was when it was dense."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.channels.filters import FilterCount
from accaware.pytorch.channels.layout import ChannelGroup, KeptMasks
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.state.checkpoint import file_size
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


def _parameters(model: nn.Module) -> tuple[int, int]:
    """Elements of all parameters, and how many of them aren't zero."""
    parameters = list(model.parameters())
    return (
        sum(parameter.numel() for parameter in parameters),
        sum(int(parameter.count_nonzero()) for parameter in parameters),
    )
