"""Floating-point operations of one forward pass, counted once and scaled to any layout.

A multiply and an add are two operations. A layer's count is proportional to its weight's
number of elements, whatever channels are kept; what no weight explains (attention products)
stays the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from accaware.pytorch.inputs import ExampleInputs


class FlopsModel:
    """The operations of a dense model, layer by layer.

    Args:
        model: dense; it is copied, not touched.
        inputs: the sample whose forward is counted, batch included.

    Attributes:
        dense: the operations of the whole model.
        by_layer: those of each module that has any, what is within it included.
    """

    def __init__(self, model: nn.Module, inputs: ExampleInputs) -> None:
        counted = copy.deepcopy(model).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), _plain_attention(), counter:
            inputs.call(counted)
        counts = counter.get_flop_counts()
        root = type(counted).__name__
        self._per_element: dict[str, float] = {}
        self._elements: dict[str, int] = {}
        self.by_layer = {
            name.removeprefix(f"{root}."): sum(operations.values())
            for name, operations in counts.items()
        }
        for name, module in counted.named_modules():
            weight = getattr(module, "weight", None)
            if any(True for _ in module.children()) or not isinstance(weight, torch.Tensor):
                continue
            flops = sum(counts.get(f"{root}.{name}", {}).values())
            if flops:
                self._per_element[f"{name}.weight"] = flops / weight.numel()
                self._elements[f"{name}.weight"] = weight.numel()
        self.dense = counter.get_total_flops()

    def count(self, shapes: Mapping[str, torch.Size]) -> int:
        """Operations with weights of these shapes; a weight that is missing counts as dense."""
        flops = float(self.dense)
        for name, each in self._per_element.items():
            if name in shapes:
                flops -= each * (self._elements[name] - shapes[name].numel())
        return round(flops)


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
