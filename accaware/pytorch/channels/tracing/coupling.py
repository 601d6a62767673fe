"""Which positions of a model's tensors go together: numbered, tied, or bound to stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ChannelIds = Tensor
"""Numbers of positions, in the shape of what they are written on; 0 where there is none.

Float64, in which every operation that moves elements exists, and whole numbers are exact.
"""

OutputIds = Sequence[ChannelIds | None] | None
"""For each output of a call its ids, or none; None for a call that can't be traced."""


class Coupling:
    """Gives ids to positions, and remembers which of them can't be without each other."""

    def __init__(self) -> None:
        self._count = 1
        self._ties: list[tuple[Tensor, Tensor]] = []
        self._bound: list[tuple[Tensor, str]] = []
        self._summed: list[Tensor] = []
        self._united: list[Tensor] = []
        self._unions: list[tuple[Tensor, str]] = []
        self._multiples: list[tuple[Tensor, int]] = []

    def new_ids(self, *shape: int) -> ChannelIds:
        """New ids, for as many positions."""
        size = torch.Size(shape).numel()
        ids = torch.arange(self._count, self._count + size, dtype=torch.float64)
        self._count += size
        return ids.reshape(shape)

    def tie(self, first: ChannelIds, second: ChannelIds) -> None:
        """Each position with the other one's at the same place, where both have ids."""
        first, second = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
        for dim, size in enumerate(first.shape):
            if size > 1 and first.stride(dim) == second.stride(dim) == 0:
                first, second = first.narrow(dim, 0, 1), second.narrow(dim, 0, 1)
        differ = (first != second) & (first > 0) & (second > 0)
        if differ.any():
            pairs = torch.unique(first[differ].long() * self._count + second[differ].long())
            self._ties.append((pairs // self._count, pairs % self._count))

    def bind(self, ids: ChannelIds, reason: str) -> None:
        """These positions have to stay; of several reasons for one the first is reported."""
        self._bound.append((_distinct(ids), reason))

    def sum(self, ids: ChannelIds) -> None:
        """Something sums over these positions, without weights of its own."""
        self._summed.append(_distinct(ids))

    def summed(self) -> Tensor:
        """(N,) the ids of what is summed over."""
        return torch.cat([torch.empty(0, dtype=torch.long), *self._summed])

    def in_multiples(self, ids: ChannelIds, number: int) -> None:
        """Something works with such channels only where their count is a multiple of a number."""
        self._multiples.append((_distinct(ids), number))

    def multiples(self, roots: Tensor) -> dict[int, int]:
        """For each root that something counts in multiples, of which number."""
        found: dict[int, int] = {}
        for ids, number in self._multiples:
            for root in torch.unique(roots[ids]).tolist():
                found[root] = math.lcm(found.get(root, 1), number)
        return found

    def unite(self, ids: ChannelIds, dim: int, reason: str) -> ChannelIds | None:
        """Tie all that lies along a dimension together, where others tell such lines apart.

        What is mixed within an attention head, say, goes with the whole head or not at all.

        Args:
            reason: why that is so, for a layer that is left without two lines.

        Returns:
            The id of each line, along which it is repeated; None where there is one line, or
            none: then what is mixed has to stay.
        """
        part = thin(ids)
        lines = part.amax(dim, keepdim=True)
        if not any(varies(lines, other) for other in range(lines.dim())):
            return None
        self.tie(lines, part)
        members = _distinct(lines)
        self._united.append(members)
        self._unions.append((members, reason))
        united: ChannelIds = lines.expand(ids.shape)
        return united

    def line(self, ids: ChannelIds, dim: int, reason: str) -> ChannelIds | None:
        """The one id of each line along a dimension, which then has size 1; united if it has to be.

        Args:
            reason: as in ``unite``.
        """
        line = single(ids, dim)
        if line is None and (united := self.unite(ids, dim, reason)) is not None:
            line = single(united, dim)
        return line

    def is_united(self, ids: ChannelIds) -> bool:
        """Whether these stand for lines that were united, and for nothing else."""
        if not self._united:
            return False
        members = _distinct(ids)
        return bool(len(members)) and bool(torch.isin(members, torch.cat(self._united)).all())

    def roots(self, more: tuple[tuple[Tensor, Tensor], ...] = ()) -> Tensor:
        """(N,) for each id the lowest one that it is tied to, by whatever chain of ties.

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
        return _first_reasons(self._bound, roots)

    def reasons_united(self, roots: Tensor) -> dict[int, str]:
        """For each root of what was united, why it was."""
        return _first_reasons(self._unions, roots)


def _first_reasons(given: Sequence[tuple[Tensor, str]], roots: Tensor) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for ids, reason in given:
        for root in torch.unique(roots[ids]).tolist():
            reasons.setdefault(root, reason)
    return reasons


def _distinct(ids: ChannelIds) -> Tensor:
    """(N,) all ids among some, each once."""
    distinct: Tensor = torch.unique(thin(ids)).long()
    return distinct[distinct > 0]


def thin(ids: ChannelIds) -> ChannelIds:
    """Without the repeats that an expansion made: one of each."""
    for dim in range(ids.dim()):
        if ids.shape[dim] > 1 and ids.stride(dim) == 0:
            ids = ids.narrow(dim, 0, 1)
    return ids


def single(ids: ChannelIds, dim: int) -> ChannelIds | None:
    """The one id of each line along a dimension, which then has size 1; None for several.

    Places without an id (a border of padding) go with the others of their line.
    """
    part = thin(ids)
    most = part.amax(dim, keepdim=True)
    if not ((part == most) | (part == 0)).all():
        return None
    sizes = list(ids.shape)
    sizes[dim] = 1
    line: ChannelIds = most.expand(sizes)
    return line


def varies(ids: ChannelIds, dim: int) -> bool:
    """Whether there are different ids along a dimension."""
    ids = thin(ids)
    return ids.shape[dim] > 1 and bool((ids != ids.narrow(dim, 0, 1)).any())


def spread(part: ChannelIds, other: ChannelIds) -> list[int]:
    """The dimensions along which a part is one, and meets different channels of another."""
    return [
        dim
        for dim, size in enumerate(part.shape)
        if size == 1 < other.shape[dim] and varies(other, dim)
    ]


def lines_apart(owners: Tensor, dim: int) -> int:
    """How many lines across a dimension there are that have no channel in common, by any chain."""
    lines = owners.movedim(dim, 0).flatten(1)
    labels = torch.arange(len(lines))
    _, places = torch.unique(lines, return_inverse=True)
    while True:
        of_channels = torch.full((int(places.max()) + 1,), len(lines)).scatter_reduce(
            0, places.flatten(), labels[:, None].expand_as(places).flatten(), "amin"
        )
        lower = of_channels[places].amin(1)
        if torch.equal(lower, labels):
            return len(torch.unique(labels))
        labels = lower
