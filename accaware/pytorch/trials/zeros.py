"""Convolutions that leave zeros out of their sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

_CONVOLUTIONS = frozenset(("conv1d", "conv2d", "conv3d"))


def convolve_without_zeros(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tensor | None:
    """What a convolution gives, without computing what its zeros make zero.

    Filters of zeros give zeros; channels that hold nothing but zeros, or meet nothing but zero
    weights, add nothing. So a dense network of which half is at zero costs what half of it would.

    Returns:
        None for what isn't a convolution in double precision, which a CPU computes slowly, and
        where nothing is zero.
    """
    if getattr(func, "__name__", "") not in _CONVOLUTIONS or len(args) < 2:
        return None
    inputs, weight, *rest = args
    if inputs.dtype != torch.float64 or inputs.dim() != weight.dim():
        return None
    if inputs.shape[1] != weight.shape[1] or weight.is_meta:  # in groups
        return None
    keywords = dict(kwargs)
    bias = rest.pop(0) if rest else keywords.pop("bias", None)
    makes, reads = _nonzero(weight, 0), _nonzero(weight, 1)
    if len(reads) == len(weight[0]):
        reads = _nonzero(inputs, 1)
    if len(makes) == len(weight) and len(reads) == len(weight[0]):
        return None
    part: Tensor = func(
        inputs.index_select(1, reads),
        weight.index_select(0, makes).index_select(1, reads),
        None,
        *rest,
        **keywords,
    )
    whole: Tensor = part.new_zeros(len(part), len(weight), *part.shape[2:]).index_copy_(
        1, makes, part
    )
    return whole if bias is None else whole.add_(bias.reshape(-1, *[1] * (weight.dim() - 2)))


def _nonzero(tensor: Tensor, dim: int) -> Tensor:
    """The positions along a dimension that don't hold zeros alone."""
    return tensor.movedim(dim, 0).flatten(1).any(1).nonzero().flatten()
