"""Which positions of a model's tensors go together: numbered, tied, or bound to stay."""

from __future__ import annotations

import torch
from torch import Tensor

Labels = Tensor
"""Numbers of positions, in the shape of what they are written on; 0 where there is none.

Float64, in which every operation that moves elements exists, and whole numbers are exact.
"""


class Coupling:
    """Gives numbers to positions, and remembers which of them can't be without each other."""

    def __init__(self) -> None:
        self._count = 1
        self._ties: list[tuple[Tensor, Tensor]] = []
        self._bound: list[tuple[Tensor, str]] = []
        self._summed: list[Tensor] = []

    def number(self, *shape: int) -> Labels:
        """New numbers, for as many positions."""
        size = torch.Size(shape).numel()
        labels = torch.arange(self._count, self._count + size, dtype=torch.float64)
        self._count += size
        return labels.reshape(shape)

    def tie(self, first: Labels, second: Labels) -> None:
        """Each position with the other one's at the same place, where both have numbers."""
        first, second = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
        for dim, size in enumerate(first.shape):
            if size > 1 and first.stride(dim) == second.stride(dim) == 0:
                first, second = first.narrow(dim, 0, 1), second.narrow(dim, 0, 1)
        differ = (first != second) & (first > 0) & (second > 0)
        if differ.any():
            pairs = torch.unique(first[differ].long() * self._count + second[differ].long())
            self._ties.append((pairs // self._count, pairs % self._count))

    def bind(self, labels: Labels, reason: str) -> None:
        """These positions have to stay; the first reason that is given for one is the one told."""
        self._bound.append((_numbers(labels), reason))

    def sum(self, labels: Labels) -> None:
        """Something sums over these positions, without weights of its own."""
        self._summed.append(_numbers(labels))

    def summed(self) -> Tensor:
        """(N,) the numbers of what is summed over."""
        return torch.cat([torch.empty(0, dtype=torch.long), *self._summed])

    def roots(self, more: tuple[tuple[Tensor, Tensor], ...] = ()) -> Tensor:
        """(N,) for each number the lowest one that it is tied to, by whatever chain of ties.

        Args:
            more: ties for this answer alone.
        """
        empty = torch.empty(0, dtype=torch.long)
        first = torch.cat([empty, *(tie[0] for tie in (*self._ties, *more))])
        second = torch.cat([empty, *(tie[1] for tie in (*self._ties, *more))])
        roots = torch.arange(self._count)
        while True:
            # Both ends' roots get the lower one, and then everybody their root's root.
            mine, theirs = roots[first], roots[second]
            apart = mine != theirs
            if not apart.any():
                return roots
            lower = torch.minimum(mine, theirs)
            roots = roots.scatter_reduce(0, torch.maximum(mine, theirs), lower, "amin")
            while not torch.equal(roots, further := roots[roots]):
                roots = further

    def reasons(self, roots: Tensor) -> dict[int, str]:
        """For each root that has to stay, why."""
        reasons: dict[int, str] = {}
        for numbers, reason in self._bound:
            for root in torch.unique(roots[numbers]).tolist():
                reasons.setdefault(root, reason)
        return reasons


def _numbers(labels: Labels) -> Tensor:
    """(N,) all numbers among some, each once."""
    numbers: Tensor = torch.unique(thin(labels)).long()
    return numbers[numbers > 0]


def thin(labels: Labels) -> Labels:
    """Without the repeats that an expansion made: one of each."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1 and labels.stride(dim) == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def single(labels: Labels, dim: int) -> Labels | None:
    """The one number of each line along a dimension, which then has size 1; None for several.

    Places without a number (a border of padding) go with the others of their line.
    """
    part = thin(labels)
    most = part.amax(dim, keepdim=True)
    if not ((part == most) | (part == 0)).all():
        return None
    sizes = list(labels.shape)
    sizes[dim] = 1
    line: Labels = most.expand(sizes)
    return line


def varies(labels: Labels, dim: int) -> bool:
    """Whether there are different numbers along a dimension."""
    labels = thin(labels)
    return labels.shape[dim] > 1 and bool((labels != labels.narrow(dim, 0, 1)).any())
