"""Products in double precision: no more of them than is needed, and those that torch hasn't."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from accaware.pytorch.channels.layout import KeptIndices

_IMAGE_DIMS = {"linear": 0, "conv1d": 1, "conv2d": 2, "conv3d": 3}
_AT_ONCE = 2**22
"""Numbers that torch may lay out for one convolution, nine for each input of a 3 by 3 kernel. A
larger image goes through in strips, which stay near the processor."""


def multiply(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], kept: KeptIndices
) -> Tensor | None:
    """What a layer gives, without computing what its zeros make zero.

    Filters of zeros give zeros; channels that meet nothing but zero weights add nothing. So a
    dense network of which half is at zero costs about what half would.

    Args:
        args: the weight may be in single precision.
        kept: of the weight, where it isn't zero.

    Returns:
        None for what isn't such a layer on inputs in double precision.
    """
    dims = _IMAGE_DIMS.get(getattr(func, "__name__", ""))
    if dims is None or len(args) < 2:
        return None
    inputs, weight, *rest = args
    names = ("bias", "stride", "padding", "dilation", "groups")
    keywords = {**dict(zip(names, rest, strict=False)), **kwargs}
    channels = 1 if dims else inputs.dim() - 1
    if (
        inputs.dtype != torch.float64
        or inputs.is_meta
        or (dims > 0 and inputs.dim() != dims + 2)
        or weight.dim() != dims + 2
        or inputs.shape[channels] != weight.shape[1]  # in groups, or a mistake: torch has words
        or not (kept or dims == 2)
        or any(not len(positions) for positions in kept.values())
    ):
        return None
    bias = keywords.pop("bias", None)
    reads, makes = kept.get(1), kept.get(0)
    filters = len(weight)
    if reads is not None:
        inputs, weight = inputs.index_select(channels, reads), weight.index_select(1, reads)
    if makes is not None:
        weight = weight.index_select(0, makes)
    weight = weight.to(inputs.dtype)
    output = _in_strips(func, inputs, weight, **keywords) if dims else func(inputs, weight)
    if makes is not None:
        shape = [*output.shape]
        shape[channels] = filters
        output = output.new_zeros(shape).index_copy_(channels, makes, output)
    if bias is None:
        return output
    added: Tensor = output.add_(bias.to(output).reshape(-1, *[1] * dims))
    return added


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
    laid_out = inputs[0].numel() * weight[0, 0].numel() if len(inputs) else 0
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


def _each(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values


def grouped_product(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tensor | None:
    """Rows by the matrices that offsets say, in any precision and of any size.

    Torch's own takes single precision and less, and rows of whole 16 bytes.

    Returns:
        None for any other function, or another form of this one.
    """
    if getattr(func, "__name__", "") not in ("_grouped_mm", "grouped_mm") or len(args) < 2:
        return None
    rows, matrices = args[:2]
    offsets = args[2] if len(args) > 2 else kwargs.get("offs")
    more = [*args[3:], *(value for key, value in kwargs.items() if key != "offs")]
    if (
        rows.dim() != 2
        or matrices.dim() != 3
        or offsets is None
        or any(each is not None for each in more)
    ):
        return None
    if rows.is_meta:
        return torch.matmul(rows, matrices[0])
    begins = [0, *offsets.tolist()]
    products = [
        rows[begin:end] @ matrix
        for begin, end, matrix in zip(begins, begins[1:], matrices, strict=False)
    ]
    # What is behind the last offset is nobody's.
    rest = rows.new_zeros(len(rows) - begins[-1], matrices.shape[-1])
    return torch.cat([*products, rest])
