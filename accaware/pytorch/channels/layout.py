"""Coupled channels of a model and the layout that says which of them are kept.

Shapes in this file: a *group* has C channels; a layer that produces them has one filter a
channel (``weight[c]``), a layer that consumes them has the matching slices of its input
dimension. Channels that an addition or a concatenation ties together are one group, because
none of them can be removed without the others (Fang et al., "DepGraph: Towards Any Structural
Pruning", 2023, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class Slot:
    """One dimension of one tensor along which a group's channels lie.

    Attributes:
        tensor: the parameter's or buffer's name in the model, or that of a module's own number
            of channels (accaware.pytorch.channels.numbers), which has one dimension and no values.
        dim: the dimension.
        positions: (P,) indices along that dimension.
        channels: (P,) the group's channel at each of them; P is a multiple of C where each
            channel has several positions (a flatten before a linear layer).
        produces: whether the tensor makes the channels (a filter, a bias, a batch norm's
            scale) rather than reads them.
        layer: the layer whose filters these are; None for all else.
    """

    tensor: str
    dim: int
    positions: Tensor
    channels: Tensor
    produces: bool
    layer: str | None = None


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that are kept or removed together.

    Attributes:
        name: the producing layer that stands for the group.
        size: C, its number of channels.
        slots: everything that has to be sliced.
        producers: names of the layers whose filters these are: the module's, or the parameter's
            where that isn't called ``weight`` (one of several, as a recurrent layer has).
        summed: whether the model sums over the channels (a norm, a mean), which misses none that
            is zero.
        united: whether a channel is several filters that something mixes with each other, as an
            attention head is.
        multiple: the channels that are left come in multiples of this, as a kernel wants them.
    """

    name: str
    size: int
    slots: tuple[Slot, ...]
    producers: tuple[str, ...]
    summed: bool = False
    united: bool = False
    multiple: int = 1

    def filters_per_channel(self) -> Tensor:
        """(C,) how many filters go when a channel goes."""
        counts = torch.zeros(self.size, dtype=torch.long)
        for slot in self.producing_weights():
            counts += torch.bincount(slot.channels, minlength=self.size)
        return counts

    def indispensable(self, order: Tensor, most: float = 1.0) -> Tensor:
        """The channels that stay whatever goes: the best of every layer that has some.

        A layer may have a part of the group only (one branch of a concatenation), and no layer
        may be left without any.

        Args:
            order: (C,) the channels, the best one last.
            most: the share of a layer's channels that may go; one stays in any case.
        """
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(self.size)
        stay: set[int] = set()
        for channels in (order, *self._partial):
            own = torch.unique(ranks[channels])
            stay.update(own[min(math.floor(most * len(own)), len(own) - 1) :].tolist())
        return order[torch.tensor(sorted(stay))]

    def together(self, multiple: int) -> int:
        """How many channels go at once, where each layer's filters come in multiples of a number.

        An attention head is several filters of each layer.
        """
        multiple = math.lcm(multiple, self.multiple)
        if not self.united:
            return multiple
        counts = (
            int(torch.bincount(slot.channels, minlength=self.size)[slot.channels].min())
            for slot in self.producing_weights()
        )
        return multiple // math.gcd(multiple, *counts)

    def is_partial(self) -> bool:
        """Whether some tensor lacks some of the channels."""
        return bool(self._partial)

    @cached_property
    def _partial(self) -> Sequence[Tensor]:
        """The channels of each slot that lacks some; the others have the best one in any order."""
        return [
            slot.channels for slot in self.slots if len(set(slot.channels.tolist())) < self.size
        ]

    def producing_weights(self) -> Iterator[Slot]:
        """The slots that are filters of the producers, one for each producer."""
        return (slot for slot in self.slots if slot.layer is not None)


@dataclass(frozen=True, eq=False)
class Layout:
    """Which channels are kept: for each group, in order, a (C,) boolean mask on the CPU."""

    kept: tuple[Tensor, ...]

    @classmethod
    def dense(cls, groups: Sequence[ChannelGroup]) -> Layout:
        """The layout in which every channel of every group is kept."""
        return cls(tuple(torch.ones(group.size, dtype=torch.bool) for group in groups))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and all(
            torch.equal(mine, theirs) for mine, theirs in zip(self.kept, other.kept, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class ExcludedLayer:
    """A layer whose filters or weights stay, and why.

    Attributes:
        share: of the model's parameters, in [0, 1]; None where it wasn't counted.
    """

    layer: str
    reason: str
    share: float | None = None

    @property
    def told(self) -> tuple[str, str]:
        """The layer and the reason, and the share behind it, for people."""
        share = f" ({self.share:.1%} of the parameters)" if self.share else ""
        return self.layer, self.reason + share


KeptMasks = dict[str, dict[int, Tensor]]
"""Tensor name -> dimension -> (dense size,) boolean mask of the positions that are kept."""


KeptIndices = dict[int, Tensor]
"""Dimension of a tensor -> (kept,) indices; no entry for a dimension that keeps all."""

Keep = dict[str, KeptIndices]
"""Tensor name -> what is kept of it."""


class SlicePlan:
    """Turns layouts into index tensors, for all tensors of all groups at once.

    Each sliced dimension knows the owner of each of its positions; a layout is then one lookup
    a dimension, with no walk over any graph.
    """

    def __init__(self, groups: Sequence[ChannelGroup], shapes: dict[str, torch.Size]) -> None:
        self.groups = tuple(groups)
        offsets = [0]
        for group in groups:
            offsets.append(offsets[-1] + group.size)
        self._nobody = offsets[-1]
        self._owners: dict[str, dict[int, Tensor]] = {}
        for group, offset in zip(groups, offsets, strict=False):
            for slot in group.slots:
                owner = self._owners.setdefault(slot.tensor, {}).setdefault(
                    slot.dim, torch.full((shapes[slot.tensor][slot.dim],), self._nobody)
                )
                owner[slot.positions] = slot.channels + offset
        everyone = [owner for dims in self._owners.values() for owner in dims.values()]
        lengths = torch.tensor([len(owner) for owner in everyone], dtype=torch.long)
        self._everyone = torch.cat([*everyone, torch.empty(0, dtype=torch.long)])
        self._dimensions = torch.repeat_interleave(torch.arange(len(lengths)), lengths)

    @property
    def tensors(self) -> Sequence[str]:
        """Names of the tensors that any layout may slice."""
        return tuple(self._owners)

    def masks(self, layout: Layout) -> KeptMasks:
        """For each tensor that loses some: which positions stay, along each such dimension."""
        kept = torch.cat([*layout.kept, torch.ones(1, dtype=torch.bool)])
        plan: KeptMasks = {}
        for tensor, dims in self._owners.items():
            stays = {dim: kept[owner] for dim, owner in dims.items()}
            losing = {dim: mask for dim, mask in stays.items() if not mask.all()}
            if losing:
                plan[tensor] = losing
        return plan

    def keep(self, masks: KeptMasks) -> Keep:
        """The same as indices, for every tensor; empty for one that loses nothing."""
        return {
            tensor: {dim: mask.nonzero().flatten() for dim, mask in masks.get(tensor, {}).items()}
            for tensor in self._owners
        }

    def shapes(self, layout: Layout, dense: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
        """The shapes that a layout gives to tensors of these dense shapes."""
        kept = torch.cat([*layout.kept, torch.ones(1, dtype=torch.bool)])
        staying = self._dimensions[kept[self._everyone]]
        counts = iter(torch.bincount(staying, minlength=len(self._dimensions)).tolist())
        shapes = dict(dense)
        for tensor, dims in self._owners.items():
            sizes = list(dense[tensor])
            for dim in dims:
                sizes[dim] = next(counts)
            shapes[tensor] = torch.Size(sizes)
        return shapes


def same_masks(mine: KeptMasks, theirs: KeptMasks) -> bool:
    """Whether two layouts' masks, or indices in their place, are equal."""
    return mine.keys() == theirs.keys() and all(
        same_tensors(mine[name], theirs[name]) for name in mine
    )


def same_tensors(mine: Mapping[K, Tensor], theirs: Mapping[K, Tensor]) -> bool:
    """Whether the same keys have equal tensors."""
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def slice_dense(dense: Tensor, keep: KeptIndices) -> Tensor:
    """The kept part of a dense tensor, always a copy."""
    part = dense
    for dim, indices in keep.items():
        part = part.index_select(dim, indices.to(part.device))
    return part.clone() if part is dense else part


def laid_out_like(example: Tensor, tensor: Tensor) -> Tensor:
    """The tensor, with its channels last in memory where those of ``example`` are.

    What selects channels puts them first, whatever they were; convolutions that compute with
    channels last would then turn them at each step.
    """
    for dims, kind in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if example.dim() == dims and example.stride(-1) == example.shape[1] > 1:
            is_last = example.is_contiguous(memory_format=kind)
            # Not contiguous(), to which channels before a single pixel are last as well.
            return tensor.clone(memory_format=kind) if is_last else tensor
    return tensor


def slice_again(
    part: Tensor, before: Mapping[int, Tensor], after: Mapping[int, Tensor], sizes: torch.Size
) -> Tensor:
    """What ``after`` keeps of a dense tensor of which ``part`` is what ``before`` keeps.

    Where ``before`` kept nothing there are zeros.

    Args:
        sizes: the dense shape.
    """
    original = part
    for dim in sorted({*before, *after}):
        everything = torch.arange(sizes[dim])
        held = before.get(dim, everything)
        places = torch.full((sizes[dim],), -1)
        places[held] = torch.arange(len(held))
        places = places[after.get(dim, everything)].to(part.device)
        found = places >= 0
        if found.all():
            part = part.index_select(dim, places)
            continue
        whole = part.new_zeros([*part.shape[:dim], len(places), *part.shape[dim + 1 :]])
        whole.index_copy_(dim, found.nonzero().flatten(), part.index_select(dim, places[found]))
        part = whole
    return laid_out_like(original, part)


def scatter_into(dense: Tensor, part: Tensor, keep: KeptIndices) -> None:
    """Write a kept part back to where it came from in the dense tensor, in place."""
    if not keep:
        dense.copy_(part)
        return
    (dim, indices), *rest = keep.items()
    indices = indices.to(dense.device)
    if rest:
        rows = dense.index_select(dim, indices)
        scatter_into(rows, part, dict(rest))
        part = rows
    dense.index_copy_(dim, indices, part)
