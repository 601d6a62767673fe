"""From importances to a layout: which channels go at a level.

A level is the share of filters to remove, in [0, 1]: of each group by itself, or of all groups
ranked together. It is a wish; the layout says what came of it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from accaware.pytorch.channels.layout import ChannelGroup, Layout


class Ranking(Protocol):
    """Knows the order in which channels go."""

    def layout(self, level: float) -> Layout:
        """The layout at a level; a higher level never keeps a channel that a lower one drops."""

    def filters_removed(self, level: float) -> int:
        """How many filters the layout at a level lacks, without making it."""


class PerGroupRanking:
    """The same share of every group.

    Args:
        groups: what is ranked.
        importances: (C,) for each group.
        multiple: kept channels come in multiples of this where the group is wide enough.
    """

    def __init__(
        self, groups: Sequence[ChannelGroup], importances: Sequence[Tensor], multiple: int = 1
    ) -> None:
        self._orders = [*map(_order, groups, importances)]
        self._multiples = [group.together(multiple) for group in groups]
        self._filters = [
            [0, *group.filters_per_channel()[order].cumsum(0).tolist()]
            for group, (order, _) in zip(groups, self._orders, strict=True)
        ]

    def layout(self, level: float) -> Layout:
        """The layout in which each group loses this share of its own channels."""
        pairs = zip(self._orders, self._gone(level), strict=True)
        return Layout(tuple(_without(order, gone) for (order, _), gone in pairs))

    def filters_removed(self, level: float) -> int:
        """How many filters go with these channels."""
        pairs = zip(self._filters, self._gone(level), strict=True)
        return sum(filters[gone] for filters, gone in pairs)

    def _gone(self, level: float) -> list[int]:
        """How many channels of each group."""
        gone = []
        for (order, least), multiple in zip(self._orders, self._multiples, strict=True):
            size = len(order)
            wanted = max(least, size - math.floor(level * size + 0.5))
            gone.append(size - allowed_count(wanted, size, multiple))
        return gone


class GlobalRanking:
    """All groups together, the least important channel of the model first.

    Args:
        groups: give the number of filters that go with a channel.
        importances: (C,) for each group, comparable between groups.
        multiple: as in PerGroupRanking; channels of a group wait until enough can go at once.
        most: the share of a layer's channels that may go, so that none collapses.
    """

    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        importances: Sequence[Tensor],
        multiple: int = 1,
        most: float = 1.0,
    ) -> None:
        self._orders: list[Tensor] = []
        candidates: list[tuple[float, int, int]] = []
        filters = []
        for number, (group, scores) in enumerate(zip(groups, importances, strict=True)):
            order, least = _order(group, scores, most)
            self._orders.append(order)
            filters.append(group.filters_per_channel()[order].cumsum(0).tolist())
            ranked = scores[order].tolist()
            candidates += [(ranked[gone], number, gone + 1) for gone in range(group.size - least)]
        self._total = sum(each[-1] for each in filters)
        # For each step: the group, how many of its channels are gone then, and how many filters
        # of the model. A step takes as many channels as it needs to leave an allowed count.
        self._groups: list[int] = []
        self._gone: list[int] = []
        self._removed: list[int] = []
        multiples = [group.together(multiple) for group in groups]
        removed = [0] * len(groups)
        total = 0
        for _, number, gone in sorted(candidates):
            size = groups[number].size
            if allowed_count(size - gone, size, multiples[number]) == size - gone:
                total += filters[number][gone - 1] - removed[number]
                removed[number] = filters[number][gone - 1]
                self._groups.append(number)
                self._gone.append(gone)
                self._removed.append(total)

    def layout(self, level: float) -> Layout:
        """The layout in which the lowest of all channels are gone, down to this share of them."""
        steps = self._steps(level)
        gone = dict(zip(self._groups[:steps], self._gone[:steps], strict=True))
        return Layout(
            tuple(_without(order, gone.get(number, 0)) for number, order in enumerate(self._orders))
        )

    def filters_removed(self, level: float) -> int:
        """How many filters go with these channels."""
        steps = min(self._steps(level), len(self._removed))
        return self._removed[steps - 1] if steps else 0

    def _steps(self, level: float) -> int:
        wanted = math.floor(level * self._total + 0.5)
        return bisect.bisect_left(self._removed, wanted) + 1 if wanted else 0


def _order(group: ChannelGroup, scores: Tensor, most: float = 1.0) -> tuple[Tensor, int]:
    """The order in which a group's channels go, and how many at its end never do."""
    # Stable, so that equal importances go in one order on every machine.
    order = torch.argsort(scores, stable=True)
    stay = group.indispensable(order, most)
    free = torch.ones(group.size, dtype=torch.bool)
    free[stay] = False
    return torch.cat([order[free[order]], stay]), len(stay)


def _without(order: Tensor, count: int) -> Tensor:
    """(C,) the mask that lacks the first ``count`` of ``order``."""
    mask = torch.ones(len(order), dtype=torch.bool)
    mask[order[:count]] = False
    return mask


def allowed_count(wanted: int, size: int, multiple: int) -> int:
    """How many of ``size`` channels stay: at least one, rounded up to the multiple."""
    return min(size, multiple * math.ceil(max(wanted, 1) / multiple))
