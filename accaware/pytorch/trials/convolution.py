"""Convolutions in double precision, in which a CPU is slow: no more of them than is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_CONVOLUTIONS = {"conv1d": 1, "conv2d": 2, "conv3d": 3}
_AT_ONCE = 2**22
"""Numbers that torch may lay out for one convolution, nine for each input of a 3 by 3 kernel. A
larger image goes through in strips, which stay near the processor."""


def convolve(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tensor | None:
    """What a convolution gives, without computing what its zeros make zero.

    Filters of zeros give zeros; channels that hold nothing but zeros, or meet nothing but zero
    weights, add nothing. So a dense network of which half is at zero costs about what half would.

    Returns:
        None for what isn't a convolution in double precision.
    """
    dims = _CONVOLUTIONS.get(getattr(func, "__name__", ""))
    if dims is None or len(args) < 2:
        return None
    inputs, weight, *rest = args
    keywords = dict(zip(("bias", "stride", "padding", "dilation", "groups"), rest, strict=False))
    keywords |= kwargs
    if (
        not inputs.dtype == weight.dtype == torch.float64
        or inputs.is_meta
        or inputs.dim() != dims + 2
        or inputs.shape[1] != weight.shape[1]  # in groups, or a mistake that torch has words for
    ):
        return None
    bias = keywords.pop("bias", None)
    makes, reads = _nonzero(weight, 0), _nonzero(weight, 1)
    if len(reads) == len(weight[0]):
        reads = _nonzero(inputs, 1)
    if len(reads) < len(weight[0]):
        inputs, weight = inputs.index_select(1, reads), weight.index_select(1, reads)
    filters = len(weight)
    if len(makes) < filters:
        weight = weight.index_select(0, makes)
    output = _in_strips(func, inputs, weight, **keywords)
    if len(makes) < filters:
        whole = output.new_zeros(len(output), filters, *output.shape[2:])
        output = whole.index_copy_(1, makes, output)
    return output if bias is None else output.add_(bias.reshape(-1, *[1] * dims))


def _in_strips(
    func: Callable[..., Any],
    inputs: Tensor,
    weight: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Along the first dimension of the image, where that is two-dimensional and large."""
    laid_out = inputs[0].numel() * weight[0, 0].numel()
    whole = weight.dim() != 4 or isinstance(padding, str) or laid_out <= _AT_ONCE
    (step, *_), (spread, *_) = _each(stride), _each(dilation)
    if whole or step != 1 or weight[0, 0].numel() == 1:
        result: Tensor = func(inputs, weight, None, stride, padding, dilation, groups)
        return result
    above, beside = _each(padding)
    padded = functional.pad(inputs, (0, 0, above, above))
    reach = spread * (weight.shape[2] - 1)
    height = max(1, _AT_ONCE * inputs.shape[2] // laid_out)
    strips = [
        func(
            padded.narrow(2, top, min(height + reach, padded.shape[2] - top)),
            weight,
            None,
            stride,
            (0, beside),
            dilation,
        )
        for top in range(0, padded.shape[2] - reach, height)
    ]
    return torch.cat(strips, 2)


def _nonzero(tensor: Tensor, dim: int) -> Tensor:
    """The positions along a dimension that don't hold zeros alone; where all do, the first."""
    found = tensor.movedim(dim, 0).flatten(1).any(1).nonzero().flatten()
    return found if len(found) else found.new_zeros(1)


def _each(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values
