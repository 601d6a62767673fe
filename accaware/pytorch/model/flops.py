"""Floating-point operations of one forward pass, counted once and scaled to any layout.

A multiply and an add are two operations. A layer's count is proportional to its weights' number
of elements, whatever channels are kept; what no weight explains (attention products) stays the
same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from accaware.pytorch.model.copies import copy_with
from accaware.pytorch.model.inputs import ExampleInputs, batch_size_of
from accaware.pytorch.model.layers import weight_origin
from accaware.pytorch.model.wrappers import eagerly


class FlopsModel:
    """The operations of a dense model on one sample, layer by layer.

    Args:
        model: dense; it is copied, not touched.
        inputs: their first sample is what is counted; all of them where the model doesn't run on
            that alone.

    Raises:
        CompressionError: the model can't be copied.
        Exception: whatever the model's forward raises.

    Attributes:
        dense: the operations of the whole model.
        by_layer: those of each module that has any, what is within it included.
    """

    def __init__(self, model: nn.Module, inputs: ExampleInputs) -> None:
        counter = _counted(model, inputs)
        self.dense = counter.get_total_flops()
        self.by_layer = {
            name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()
        }
        within = _by_layers_within(self.by_layer)
        self._layers = {
            name: (flops, sizes)
            for name, module in model.named_modules()
            if (flops := self.by_layer.get(name, 0) - within.get(name, 0)) > 0
            and (sizes := _weights(name, module))
        }

    def count(self, shapes: Mapping[str, torch.Size]) -> int:
        """Operations with weights of these shapes; a weight that is missing counts as dense."""
        flops = float(self.dense)
        for dense, share in self._shares(shapes).values():
            flops -= dense * (1 - share)
        return round(flops)

    def count_by_layer(self, shapes: Mapping[str, torch.Size]) -> dict[str, int]:
        """The same of each layer whose own operations come from its weights."""
        shares = self._shares(shapes)
        return {name: round(dense * share) for name, (dense, share) in shares.items()}

    def _shares(self, shapes: Mapping[str, torch.Size]) -> dict[str, tuple[int, float]]:
        """A layer's own operations, and how much of its weights is left."""
        shares = {}
        for layer, (dense, sizes) in self._layers.items():
            kept = sum(
                shapes[name].numel() if name in shapes else size for name, size in sizes.items()
            )
            shares[layer] = dense, kept / sum(sizes.values())
        return shares


def _by_layers_within(by_layer: Mapping[str, int]) -> dict[str, int]:
    """The operations of each module that are those of modules within it."""
    within: dict[str, int] = {}
    for name, flops in by_layer.items():
        outer = name
        while outer and (outer == name or outer not in by_layer):
            outer = outer.rpartition(".")[0]
        # What a weight is computed by is the layer's own; "Global" is the counter's word for all.
        if name not in ("", "Global") and ".parametrizations." not in f".{name}.":
            within[outer] = within.get(outer, 0) + flops
    return within


def _weights(name: str, module: nn.Module) -> dict[str, int]:
    """The elements of what a layer itself multiplies with, by the parameters' names.

    That is its weight, or what this is computed from, or all its matrices (a recurrent layer's, or
    those of experts, whose biases have two dimensions).
    """
    matrices = {
        key: parameter.numel()
        for key, parameter in module.named_parameters()
        if parameter.dim() > 1
        and "bias" not in key
        and ("." not in key or key.startswith("parametrizations."))
    }
    origin = weight_origin(module)
    if origin in matrices:
        matrices = {origin: matrices[origin]}
    return {f"{name}.{key}".lstrip("."): size for key, size in matrices.items()}


def _counted(model: nn.Module, inputs: ExampleInputs) -> FlopCounterMode:
    """A counter that has seen one forward, of a single sample if the model runs on one."""
    own = copy_with(model, lambda tensor: tensor.detach().clone()).eval()
    size = batch_size_of((inputs.args, dict(inputs.kwargs)))
    if size > 1:

        def first(tensor: Tensor) -> Tensor:
            return tensor[:1] if tensor.dim() and len(tensor) == size else tensor

        with suppress(Exception):  # it takes whole batches only
            return _count(own, inputs.mapped(first))
    return _count(own, inputs)


def _count(model: nn.Module, inputs: ExampleInputs) -> FlopCounterMode:
    counter = FlopCounterMode(display=False, custom_mapping=_UNCOUNTED)
    # PyTorch's own tracker watches gradients too, and fails in a forward that computes some.
    counter.mod_tracker = _Running(model)  # type: ignore[assignment]
    with torch.no_grad(), eagerly(), _plain_attention(), counter:
        inputs.mapped(Tensor.detach).call(model)
    return counter


class _Running:
    """Which modules are in their forwards, for FlopCounterMode.

    Attributes:
        parents: their names.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._handles: list[RemovableHandle] = []
        self.parents = {"Global"}

    def __enter__(self) -> None:
        for name, module in self._model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):  # it takes no hooks of this kind
                self._handles += [
                    module.register_forward_pre_hook(partial(self._begin, name)),
                    module.register_forward_hook(partial(self._end, name)),
                ]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, name: str, *_: object) -> None:
        self.parents.add(name)

    def _end(self, name: str, *_: object) -> None:
        self.parents.discard(name)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as matrix products: PyTorch's counter doesn't know the fused kernels."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _multiplied(inputs: torch.Size, matrices: Sequence[torch.Size]) -> int:
    """Each element of a recurrent layer's matrices, for each of its (..., features) inputs."""
    sizes = [math.prod(shape) for shape in matrices if len(shape) == 2]
    return 2 * math.prod(inputs[:-1]) * sum(sizes)


def _one_layer(
    inputs: torch.Size, to_hidden: torch.Size, hidden: torch.Size, *_: Any, **__: Any
) -> int:
    return _multiplied(inputs, (to_hidden, hidden))


def _all_layers(inputs: torch.Size, weights: Sequence[torch.Size], *_: Any, **__: Any) -> int:
    return _multiplied(inputs, weights)


def _grouped(rows: torch.Size, matrices: torch.Size, *_: Any, **__: Any) -> int:
    """Each row by one of the matrices."""
    return 2 * math.prod(rows) * matrices[-1]


_UNCOUNTED = {
    torch.ops.aten.mkldnn_rnn_layer: _one_layer,
    torch.ops.aten._cudnn_rnn: _all_layers,
    torch.ops.aten.miopen_rnn: _all_layers,
    torch.ops.aten._grouped_mm: _grouped,
}
"""Kernels that PyTorch's counter doesn't know: fused ones, and the experts' of a mixture."""
