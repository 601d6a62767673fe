"""Copies of models whose tensors change on the way, so that no second set is ever in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def copy_with(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """A deep copy that isn't for training: no parameter of it asks for a gradient.

    Args:
        change: gives a new tensor for each parameter and buffer, which it leaves alone.
    """
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(change(parameter.detach()), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = change(buffer.detach())
    return copy.deepcopy(model, memo)


def copy_without_values(model: nn.Module) -> nn.Module:
    """A copy on the meta device, where tensors have shapes and nothing else."""
    return copy_with(model, lambda tensor: torch.empty_like(tensor, device="meta"))


def copy_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy whose floating-point tensors have another precision."""

    def change(tensor: Tensor) -> Tensor:
        return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True)

    return copy_with(model, change)
