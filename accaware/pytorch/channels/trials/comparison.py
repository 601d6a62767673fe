"""How far two runs' outputs are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accaware.pytorch.channels.trials.trial import Observed


@dataclass(frozen=True)
class OutputComparison:
    """What came of comparing outputs of the same shapes.

    Attributes:
        difference: the largest one, relative to its tensor's largest magnitude; infinite where
            whole numbers differ, or what isn't finite in one isn't the same in the other.
        elements: how many were compared, which are those that are finite.
    """

    difference: float
    elements: int


def same_shapes(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> bool:
    """Whether there are as many tensors, of the same shapes in the same order."""
    return [tensor.shape for tensor in wanted] == [tensor.shape for tensor in got]


def comparable_decisions(wanted: Observed, got: Observed) -> list[int]:
    """Which of them have the same shape in both; those on removed channels have not."""
    if len(wanted.decisions) != len(got.decisions):
        return []
    pairs = zip(wanted.decisions, got.decisions, strict=True)
    return [place for place, (mine, theirs) in enumerate(pairs) if mine.shape == theirs.shape]


def compare(wanted: Observed, got: Observed) -> OutputComparison:
    """Outputs of the same shapes, and the decisions that can be compared."""
    decisions = comparable_decisions(wanted, got)
    return compare_tensors(
        [*wanted.outputs, *(wanted.decisions[place] for place in decisions)],
        [*got.outputs, *(got.decisions[place] for place in decisions)],
    )


def compare_tensors(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> OutputComparison:
    """How far tensors of the same shapes are apart, over all that are finite."""
    difference, elements = 0.0, 0
    for mine, theirs in zip(wanted, got, strict=True):
        if not (mine.is_floating_point() or mine.is_complex()):
            elements += mine.numel()
            difference = difference if torch.equal(mine, theirs) else math.inf
            continue
        finite = mine.isfinite()
        if not torch.equal(finite, theirs.isfinite()) or not _same(mine[~finite], theirs[~finite]):
            difference = math.inf
            finite = finite & theirs.isfinite()
        mine, theirs = mine[finite], theirs[finite]
        if not mine.numel():
            continue
        elements += mine.numel()
        scale = mine.abs().max().clamp_min(torch.finfo(mine.dtype).tiny)
        difference = max(difference, float((mine - theirs).abs().max() / scale))
    return OutputComparison(difference, elements)


def _same(mine: Tensor, theirs: Tensor) -> bool:
    """Infinities of the same sign, and what is no number at all."""
    return bool(torch.allclose(mine, theirs, rtol=0, atol=0, equal_nan=True))
