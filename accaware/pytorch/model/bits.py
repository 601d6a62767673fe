"""Equality to the bit."""

from __future__ import annotations

import torch
from torch import Tensor


def same_bits(mine: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors are of one type and shape and hold the same values; NaN equals NaN."""
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape or mine.layout != theirs.layout:
        return False
    if mine.layout != torch.strided:
        mine, theirs = mine.to_dense(), theirs.to_dense()
    equal = mine == theirs
    if mine.is_floating_point() or mine.is_complex():
        equal |= mine.isnan() & theirs.isnan()
    return bool(equal.all())
