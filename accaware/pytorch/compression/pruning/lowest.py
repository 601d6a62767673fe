"""The lowest of many scores, found in a few passes over them and never with all of them at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

_PIECE = 1 << 20
"""Scores that are looked at together."""

_DIGITS = 1 << 16

_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}

Score = Callable[[Tensor, int], Tensor]
"""Gives the scores of a part of a tensor: none negative, all of float32 or all of float64."""


def mask_of(scores: Tensor, rate: float) -> Tensor:
    """A mask that drops exactly round(rate * n) of the lowest scores; ties go in order."""
    (mask,) = masks_of([scores], rate, lambda part, _: part)
    return mask


def masks_of(tensors: Sequence[Tensor], rate: float, score: Score) -> list[Tensor]:
    """For each tensor a mask like it that drops the lowest of all their entries together.

    Exactly round(rate * n) of the n entries are dropped; of equal ones the first go. Beyond the
    masks it takes memory for a few pieces.

    Args:
        score: called with a part of a tensor and that tensor's index, several times for each.
    """
    masks = [torch.ones_like(tensor, dtype=torch.bool) for tensor in tensors]
    count = round(rate * sum(tensor.numel() for tensor in tensors))
    if not count:
        return masks

    def scores() -> Iterator[Tensor]:
        return (score(part, at) for at, tensor in enumerate(tensors) for part in _pieces(tensor))

    threshold, ties = _lowest(scores, count)
    parts = (part for mask in masks for part in _pieces(mask))
    for part, values in zip(parts, scores(), strict=True):
        part.copy_(values > threshold)
        equal = (values == threshold).nonzero()
        if len(equal) > ties:
            part[tuple(equal[ties:].T)] = True
        ties -= min(ties, len(equal))
    return masks


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Views of a tensor's rows, in order."""
    if not tensor.dim() or not tensor.numel():
        return iter([tensor])
    rows = max(1, _PIECE * len(tensor) // tensor.numel())
    return iter(torch.split(tensor, rows))


def _lowest(scores: Callable[[], Iterator[Tensor]], count: int) -> tuple[float, int]:
    """The highest of the ``count`` lowest scores, and how many of those are equal to it.

    A radix selection: the bits of floats that aren't negative are in the order of their values,
    so each pass finds the next 16 of them, by a histogram of those that begin alike.
    """
    kind = next(scores()).dtype
    top = 8 * kind.itemsize - 16
    found, rest = 0, count
    for place in range(top, -1, -16):
        counts = torch.zeros(_DIGITS, dtype=torch.long)
        for values in scores():
            bits = values.reshape(-1).view(_INTEGERS[kind])
            if place < top:
                bits = bits[bits >> (place + 16) == found]
            digits = (bits >> place) & (_DIGITS - 1)
            counts += torch.bincount(digits, minlength=_DIGITS).cpu()
        below = counts.cumsum(0)
        digit = int(torch.searchsorted(below, rest))
        rest -= int(below[digit - 1]) if digit else 0
        found = found << 16 | digit
    return torch.tensor(found, dtype=_INTEGERS[kind]).view(kind).item(), rest
