"""How big a model is, before and after."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One quantity of the dense model and of the compressed one."""

    dense: int
    compressed: int


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """What a compressed model is compared by.

    Attributes:
        parameters: weights that are stored, zeros included.
        nonzero_parameters: those of them that aren't zero.
        flops: of one forward pass over one sample, a multiply-add counted as two.
        filters: output channels of the layers that pruning may touch.
        file_size: bytes of the saved weights.
    """

    parameters: Size
    nonzero_parameters: Size
    flops: Size
    filters: Size
    file_size: Size
