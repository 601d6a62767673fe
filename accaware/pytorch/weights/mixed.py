"""Layers whose own forward mixes their weights before it multiplies with them.

Weight standardisation does (Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and
Weight Standardization", 2019): what is zero, or one of 256 levels, in the parameter is nothing of
the kind in the product. A forward that scales or casts its weight leaves zeros where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import PRODUCERS
from accaware.pytorch.weights.products import weight_argument


def layers_with_own_forward(model: nn.Module) -> dict[str, nn.Module]:
    """Layers of a class that isn't torch's own, whose weight is a parameter; by their names."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, PRODUCERS)
        and not isinstance(module, torch.jit.ScriptModule)
        and not parametrize.is_parametrized(module)
        and not str(getattr(module.forward, "__module__", "")).startswith("torch.")
        and module._parameters.get("weight") is not None
    }


def mixing_layers(model: nn.Module, inputs: ExampleInputs) -> frozenset[str]:
    """The layers with a forward of their own that mixes its weights.

    Args:
        model: it is copied, not touched, and that only where there is such a layer.
        inputs: what the copy is run with, in evaluation mode, half of these weights zero.

    Raises:
        CompressionError: the model can't be copied.
        Exception: whatever its forward raises.
    """
    names = layers_with_own_forward(model)
    if not names:
        return frozenset()
    own = copied(model).eval()
    zeros = {}
    for name in names:
        weight = own.get_parameter(f"{name}.weight").detach()
        zeros[name] = (torch.arange(weight.numel(), device=weight.device) % 2).view(weight.shape)
        weight.mul_(zeros[name])
    watch = _Zeros(zeros)
    with watch.watching(own):
        inputs.call(own)
    return frozenset(watch.lost)


class _Zeros(ForwardWatch):
    """Which layers multiply with something else where their weight is zero."""

    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.lost: set[str] = set()
        self._kept = kept

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        weight = weight_argument(getattr(func, "__name__", ""), args, kwargs)
        kept = self._kept.get(self.module)
        if weight is not None and kept is not None and _fills_zeros(weight, kept):
            self.lost.add(self.module)
        return func(*args, **kwargs)


def _fills_zeros(weight: Tensor, kept: Tensor) -> bool:
    return weight.shape == kept.shape and bool(weight[kept == 0].any())
