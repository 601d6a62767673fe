"""From importances to a layout: which channels go at a level.

A level is the share of filters to remove, in [0, 1]: of each group by itself, or of all groups
ranked together. It is a wish; the layout says what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from accaware.pytorch.channels import ChannelGroup, Layout


class Ranking(Protocol):
    """Knows the order in which channels go."""

    def layout(self, level: float) -> Layout:
        """The layout at a level; a higher level never keeps a channel that a lower one drops."""


class PerGroupRanking:
    """The same share of every group.

    Args:
        importances: (C,) for each group.
        multiple: kept channels come in multiples of this where the group is wide enough.
    """

    def __init__(self, importances: Sequence[Tensor], multiple: int = 1) -> None:
        # Stable, so that equal importances go in one order on every machine.
        self._orders = [torch.argsort(scores, stable=True) for scores in importances]
        self._multiple = multiple

    def layout(self, level: float) -> Layout:
        kept = []
        for order in self._orders:
            size = len(order)
            stay = allowed_count(size - math.floor(level * size + 0.5), size, self._multiple)
            mask = torch.ones(size, dtype=torch.bool)
            mask[order[: size - stay]] = False
            kept.append(mask)
        return Layout(tuple(kept))


class GlobalRanking:
    """All groups together, the least important channel of the model first.

    Args:
        groups: give the number of filters that go with a channel.
        importances: (C,) for each group, comparable between groups.
        multiple: as in PerGroupRanking; the best of the channels to go stay to fill it up.
    """

    def __init__(
        self, groups: Sequence[ChannelGroup], importances: Sequence[Tensor], multiple: int = 1
    ) -> None:
        self._sizes = [group.size for group in groups]
        self._multiple = multiple
        scores = torch.cat(list(importances))
        # The best channel of each group never goes, so it isn't in the order at all.
        offsets = torch.tensor([0, *self._sizes]).cumsum(0)
        last = {
            int(offset + torch.argmax(scores))
            for offset, scores in zip(offsets[:-1].tolist(), importances, strict=True)
        }
        order = [
            index for index in torch.argsort(scores, stable=True).tolist() if index not in last
        ]
        self._order = torch.tensor(order, dtype=torch.long)
        self._scores = scores
        weights = torch.cat([group.filters_per_channel() for group in groups])
        self._total = int(weights.sum())
        self._removed = weights[self._order].cumsum(0)

    def layout(self, level: float) -> Layout:
        wanted = math.floor(level * self._total + 0.5)
        count = int(torch.searchsorted(self._removed, wanted)) + 1 if wanted else 0
        mask = torch.ones(len(self._scores), dtype=torch.bool)
        mask[self._order[:count]] = False
        masks, scores = torch.split(mask, self._sizes), torch.split(self._scores, self._sizes)
        return Layout(tuple(map(self._filled, masks, scores)))

    def _filled(self, kept: Tensor, scores: Tensor) -> Tensor:
        stay = allowed_count(int(kept.sum()), len(kept), self._multiple)
        if stay == int(kept.sum()):
            return kept
        order = torch.argsort(scores, stable=True)
        filled = torch.ones_like(kept)
        filled[order[: len(kept) - stay]] = False
        return filled


def allowed_count(wanted: int, size: int, multiple: int) -> int:
    """How many of ``size`` channels stay: at least one, rounded up to the multiple."""
    return min(size, multiple * math.ceil(max(wanted, 1) / multiple))
