"""Channel ids of elements that meet: in a sum, a product by elements, or along a dimension."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch

from accaware.pytorch.channels.tracing.coupling import (
    ChannelIds,
    Coupling,
    lines_apart,
    spread,
    thin,
    varies,
)


class Meetings:
    """Ties what meets; what is open as long as more is coming is settled at the end.

    Args:
        coupling: what is tied there.

    Attributes:
        splits: the ids of tensors in which channels were laid out in rows.
    """

    def __init__(self, coupling: Coupling) -> None:
        self._coupling = coupling
        self.splits: list[ChannelIds] = []
        self._spreads: list[tuple[ChannelIds, ChannelIds, str]] = []

    def across(self, ids: ChannelIds, dim: int) -> ChannelIds:
        """(size,) ids that stand for all that lies across a dimension."""
        size = ids.shape[dim]
        rows = thin(ids).movedim(dim, 0)
        rows = rows.expand(size, *rows.shape[1:])[..., None].flatten(1)
        first: ChannelIds = rows.amax(1)
        self._coupling.tie(first[:, None], rows)
        return first

    def of(self, parts: Sequence[ChannelIds], shape: torch.Size, place: str) -> ChannelIds | None:
        """Of elements that meet, which are tied, what they make.

        Args:
            parts: they broadcast to ``shape``.
        """
        parts = [part.reshape([1] * (len(shape) - part.dim()) + list(part.shape)) for part in parts]
        parts = self._unite_rows(parts, place)
        result: ChannelIds | None = None
        rows: list[ChannelIds] = []
        scattered: list[ChannelIds] = []
        for part in parts:
            others = [other for other in parts if other is not part]
            if not any(spread(part, other) for other in others):
                result = self._joined(result, part, shape)
            else:
                (rows if self._coupling.is_united(part) else scattered).append(part)
        for part in scattered:
            reason = f"{place} spreads it over other channels"
            if result is None or not any(varies(part, dim) for dim in range(part.dim())):
                self._coupling.bind(part, reason)
            else:
                self._spreads.append((thin(part), thin(result), reason))
        for part in rows:
            # All that a head is spread over goes with it.
            result = self._joined(result, part, shape)
        return result

    def _unite_rows(self, parts: Sequence[ChannelIds], place: str) -> list[ChannelIds]:
        """The parts; where within rows each channel of one meets each of another, as rows."""
        rows = [*parts]
        for first, second in combinations(range(len(rows)), 2):
            of_first, of_second = (
                spread(rows[second], rows[first]),
                spread(rows[first], rows[second]),
            )
            if len(of_first) == len(of_second) == 1:
                reason = f"{place} spreads it over other channels"
                mine = self._coupling.unite(rows[first], of_first[0], reason)
                theirs = self._coupling.unite(rows[second], of_second[0], reason)
                if mine is not None and theirs is not None:
                    rows[first], rows[second] = mine, theirs
        return rows

    def _joined(self, result: ChannelIds | None, part: ChannelIds, shape: torch.Size) -> ChannelIds:
        """What is made of two parts that go together; a head's ids, where one is of heads."""
        if result is None:
            return part.expand(shape)
        self._coupling.tie(result, part)
        if self._coupling.is_united(part) and not self._coupling.is_united(result):
            result, part = part.expand(shape), result
        if not (thin(result) > 0).all():
            result = torch.where(result > 0, result, part)
        return result

    def settle(self) -> None:
        """Nothing more is coming: tie what was left open."""
        self._settle_splits()
        self._settle_spreads()

    def _settle_splits(self) -> None:
        """Of channels in rows, all rows lose the same places; or whole rows go, as heads do."""
        roots = self._coupling.roots()
        for ids in self.splits:
            owners = roots[ids.long()].double()
            dims = [dim for dim in range(owners.dim()) if varies(owners, dim)]
            if len(dims) > 1:
                apart = [lines_apart(owners, dim) for dim in dims]
                best = -1 if apart[-1] > 1 else apart.index(max(apart))
                self.across(ids, dims[best])

    def _settle_spreads(self) -> None:
        """What meets whole rows of channels goes with them; what meets several has to stay."""
        roots = self._coupling.roots()
        for part, whole, reason in self._spreads:
            owners = roots[whole.long()].double()
            if any(varies(owners, dim) for dim in spread(part, whole)):
                self._coupling.bind(part, reason)
            else:
                self._coupling.tie(part, whole)
