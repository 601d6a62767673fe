"""Coupled-channel groups of a model, found by channel tracing.

Channels that are tied together are removed together; a layer's filters are ranked together. So
a group is all channels of the layers that share some. Nothing here is believed before
accaware.pytorch.channels.verification tried it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accaware.errors import AccAwareError, CompressionError
from accaware.pytorch.channels.layout import ChannelGroup, ExcludedLayer, Slot
from accaware.pytorch.channels.tracing import ChannelTable, trace_channels
from accaware.pytorch.model.device import SMALLER_INPUTS, reporting_memory_shortage
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import Mode
from accaware.wording import first_line

_NOTHING = torch.empty(0, dtype=torch.long)
_UNREACHED = "the forward doesn't reach it on the example inputs"


@dataclass(frozen=True)
class Dependencies:
    """The groups of a model, and the layers that belong to none, each with its reason.

    Attributes:
        reached: the modes in which the model does different things to channels -> the names of
            the parameters that it uses there.
        by_size: whether the groups may be others at another size of the inputs.
    """

    groups: tuple[ChannelGroup, ...]
    excluded: tuple[ExcludedLayer, ...]
    first_convolutions: frozenset[str]
    reached: Mapping[Mode, frozenset[str]]
    by_size: bool


def find_dependencies(model: nn.Module, inputs: ExampleInputs) -> Dependencies:
    """Every group of coupled channels, and why other layers have none.

    Args:
        model: dense; it is copied, not touched.
        inputs: something the model accepts; a batch of 1 will do.

    Raises:
        CompressionError: the model can't run, or gives no tensors.
        MemoryShortageError: it ran out of memory.
    """
    try:
        with reporting_memory_shortage(
            f"{type(model).__name__} on the example inputs", SMALLER_INPUTS
        ):
            traced = trace_channels(model, inputs)
    except AccAwareError:
        raise
    except Exception as error:  # the user's forward's, or one of tracing's own
        raise CompressionError(
            f"{type(model).__name__} can't be pruned: its forward on the example inputs fails "
            f"while channels are traced ({type(error).__name__}: {first_line(error, 'no message')})"
        ) from error
    found = traced.table
    layers = _layers(found)
    families = _Families(found, layers)
    groups: list[ChannelGroup] = []
    excluded: dict[str, str] = {}
    order = [*layers]
    for family, members in families.layers.items():
        name, *_ = producers = tuple(sorted(members, key=order.index))
        reason = families.reasons.get(family)
        size, slots = families.sizes[family], families.slots[family]
        group = ChannelGroup(
            name,
            size,
            slots,
            producers,
            summed=family in families.summed,
            united=family in families.united,
            multiple=families.multiples.get(family, 1),
        )
        if reason is None and group.size == 1 and int(group.filters_per_channel()) > len(producers):
            reason = families.united.get(family, "its channels are tied to one another")
        if reason is None and group.multiple > 1 and group.is_partial():
            reason = f"some layer has a part of its channels, which go by {group.multiple}"
        if reason is None:
            groups.append(group)
        else:
            excluded.update(dict.fromkeys(producers, reason))
    unreached = {each.name for each in traced.unreached}
    for layer, weight in layers.items():
        if weight not in found.weights.by_name:
            unseen = _UNREACHED if layer in unreached else "the forward doesn't use it as a layer"
            opaque = unseen if weight is None else found.opaque.get(weight, unseen)
            excluded[layer] = found.parameters.computed.get(layer, opaque)
    kept = {layer for group in groups for layer in group.producers}
    return Dependencies(
        tuple(sorted(groups, key=lambda group: order.index(group.name))),
        tuple(
            ExcludedLayer(layer, excluded[layer])
            for layer in layers
            if layer in excluded and layer not in kept
        ),
        frozenset(found.first_convolutions),
        traced.reached,
        found.cut_across,
    )


def _layers(found: ChannelTable) -> dict[str, str | None]:
    """What makes channels, or is a layer of torch's -> the weight that does, if it has one."""
    return {
        layer: weight
        for layer, weight in found.parameters.weights.items()
        if found.parameters.is_torchs(layer)
        or (weight in found.weights.by_name and found.weights.by_name[weight].makes is not None)
    }


class _Families:
    """Channels by the layers that they share.

    Attributes:
        layers: family -> the producers whose filters its channels are.
        sizes: family -> number of channels.
        slots: family -> where its channels lie.
        reasons: family -> why it has to stay whole; no entry where it may lose channels.
        summed: the families whose channels something sums over.
        united: the families in which several filters are one channel, as something mixes them
            (an attention head) -> what does.
        multiples: the families of which something takes multiples of a number only -> the number.
    """

    def __init__(self, found: ChannelTable, layers: Mapping[str, str | None]) -> None:
        weights = {
            layer: found.weights.by_name[weight]
            for layer, weight in layers.items()
            if weight in found.weights.by_name
        }
        made = {
            layer: weight.dims[weight.makes].long()
            for layer, weight in weights.items()
            if weight.makes is not None
        }
        roots = found.coupling.roots()
        # A grouped convolution has no filters of its own choosing: it follows its input.
        together = tuple(
            (ids[:1].expand(ids.shape), ids)
            for layer, ids in made.items()
            if not weights[layer].grouped
        )
        self._family = found.coupling.roots(together)[roots]
        channels = torch.unique(roots[torch.cat([_NOTHING, *made.values()])])
        self.reasons: dict[int, str] = {}
        bound = found.coupling.reasons(roots)
        for root, reason in bound.items():
            self.reasons.setdefault(int(self._family[root]), reason)
        # Where some of a family's channels have to stay, the others may go without them.
        stays = torch.isin(channels, torch.tensor(sorted(bound), dtype=torch.long))
        free = torch.unique(self._family[channels[~stays]])
        channels = channels[~stays | ~torch.isin(self._family[channels], free)]
        for family in free.tolist():
            self.reasons.pop(family, None)
        # Id -> its channel, which is the root of its ties; 0 where no layer makes it, or it stays.
        self._owner = torch.where(torch.isin(roots, channels), roots, 0)
        self._index = torch.zeros_like(roots)
        self.sizes: dict[int, int] = {}
        for family, members in _by(self._family, channels):
            self._index[members] = torch.arange(len(members))
            self.sizes[family] = len(members)
        self.layers: dict[int, list[str]] = {}
        for layer, ids in made.items():
            for family in torch.unique(self._family[ids]).tolist():
                self.layers.setdefault(family, []).append(layer)
        self.summed = set(self._family[found.coupling.summed()].tolist())
        self.united = {
            int(self._family[root]): reason
            for root, reason in found.coupling.reasons_united(roots).items()
        }
        self.multiples: dict[int, int] = {}
        for root, number in found.coupling.multiples(roots).items():
            family = int(self._family[root])
            self.multiples[family] = math.lcm(self.multiples.get(family, 1), number)
        self.slots: dict[int, tuple[Slot, ...]] = {}
        owners = {layers[layer]: layer for layer in weights}
        for name, weight in found.weights.by_name.items():
            for dim, ids in weight.dims.items():
                makes = dim == weight.makes
                maker = owners.get(name) if makes else None
                self._add(name, dim, self._owner[ids.long()], produces=makes, layer=maker)
        for name, ids in found.counts.items():
            self._add(name, 0, self._owner[ids.long()], produces=False)
        for name, ids in found.vectors.items():
            self._add_vectors(name, self._owner[ids.long()])

    def _add(
        self, tensor: str, dim: int, owners: Tensor, *, produces: bool, layer: str | None = None
    ) -> None:
        for family, positions in _by(self._family[owners], owners.nonzero().flatten()):
            channels = self._index[owners[positions]]
            slot = Slot(tensor, dim, positions, channels, produces, layer)
            self.slots[family] = (*self.slots.get(family, ()), slot)

    def _add_vectors(self, tensor: str, owners: Tensor) -> None:
        """A tensor whose channels lie along one dimension, whichever that is."""
        if not owners.any():
            return
        for dim in reversed(range(owners.dim())):
            rows = owners.movedim(dim, 0).reshape(owners.shape[dim], -1)
            # What no forward used (the bias of an expert that had no sample) is cut likewise.
            rows = rows[:, rows.any(0)]
            if (rows == rows[:, :1]).all():
                self._add(tensor, dim, rows[:, 0], produces=True)
                return
        for family in torch.unique(self._family[owners[owners > 0]]).tolist():
            self.reasons.setdefault(family, f"its channels don't line up with {tensor}")


def _by(keys: Tensor, members: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The members of each key, which ``keys`` holds for each of them."""
    found = keys[members]
    for key in torch.unique(found).tolist():
        yield key, members[found == key]
