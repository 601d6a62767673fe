"""How much the loss would change without a channel, by the gradients of the training itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from accaware.pytorch.channels.compact import CompactModel
from accaware.pytorch.channels.layout import KeptMasks
from accaware.pytorch.distributed.agreement import take_from_first

_STEPS = 100
"""Optimizer steps that an average is about: it forgets what came long before."""

_Reader = tuple[str, int]
"""A weight's name, and a dimension along which it reads channels."""


class TaylorImportance:
    """First-order Taylor importance of channels, averaged over optimizer steps.

    Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019), section 3: the
    squared derivative of the loss by a gate on a channel, which is a squared sum of gradient
    times weight and is comparable between layers. The gate is where the channel is read, so the
    weights are those of all layers that read it: behind a batch norm, where the paper puts gates
    too. The sum over a filter's own weights is zero there, as their size makes no difference.

    The gradients are those that optimizers step by, so that no loss needs to be known and no
    further pass over the data is made. Each step counts in units of its own mean: neither a loss
    that shrinks nor gradients that are scaled make steps unequal. A channel that is removed keeps
    the importance that it had when it went.

    Args:
        compact: the model, which is dense.
    """

    def __init__(self, compact: CompactModel) -> None:
        self._compact = compact
        sizes = [group.size for group in compact.groups]
        self._filters = torch.cat([group.filters_per_channel() for group in compact.groups])
        self._groups = torch.split(torch.arange(sum(sizes)), sizes)
        # Of each dimension along which a weight reads channels: whose its positions are.
        self._readers: dict[_Reader, Tensor] = {}
        parameters, shapes = dict(compact.model.named_parameters()), compact.dense_shapes()
        for group, places in zip(compact.groups, self._groups, strict=True):
            for slot in group.slots:
                if not slot.produces and slot.tensor in parameters:
                    nobody = torch.full((shapes[slot.tensor][slot.dim],), sum(sizes))
                    owners = self._readers.setdefault((slot.tensor, slot.dim), nobody)
                    owners[slot.positions] = places[slot.channels]
        # Of all groups' channels, one after the other: the average, and over how many steps.
        self._means = torch.zeros(sum(sizes))
        self._steps = torch.zeros(sum(sizes))
        self._live: _LiveChannels | None = None

    @property
    def seen(self) -> bool:
        """Whether there was a step yet."""
        return bool(self._steps.any())

    def attach(self, optimizer: Optimizer) -> None:
        """Look at the gradients before each of the optimizer's steps."""
        optimizer.register_step_pre_hook(lambda *_: self._observe())

    def channel_importances(self, by_weights: Sequence[Tensor]) -> list[Tensor]:
        """For each group the (C,) importances of its channels, on the CPU; 1 a filter in the mean.

        Of several processes all have to ask. Channels that no gradient told of are judged by
        their weights: all of a group, where those who read it are frozen; below all others, where
        they went before the first step.

        Args:
            by_weights: for each group (C,) importances that are 1 a filter in the mean.
        """
        # Where gradients are averaged all have the same; else the weights wouldn't be, either.
        take_from_first([self._means, self._steps])
        means, seen = self._means.cpu(), self._steps.cpu() > 0
        result = []
        for places, others in zip(self._groups, by_weights, strict=True):
            scores, known = means[places], seen[places]
            if known.any() and not known.all():
                others = others * (scores[known].min() / others.max().clamp_min(1e-30))
            result.append(torch.where(known, scores, others))
        return result

    def state_dict(self) -> dict[str, Any]:
        """The averages, and over how many steps each is."""
        return {"means": self._means, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        device = next(self._compact.model.parameters()).device
        self._means = state["means"].to(device, copy=True)
        self._steps = state["steps"].to(device, copy=True)

    @torch.no_grad()
    def _observe(self) -> None:
        sums = {}
        for name, dim in self._readers:
            weight = self._compact.model.get_parameter(name)
            if weight.grad is not None:
                products = weight.grad.float() * weight.float()
                # Rows first, in the order in which they lie: four times as fast as all at once.
                columns = products.flatten(0, dim - 1).sum(0) if dim else products
                sums[name, dim] = columns.flatten(1).sum(1) if columns.dim() > 1 else columns
        if not sums:
            return
        device = next(iter(sums.values())).device
        live = self._live_channels([*sums], device)
        found = torch.cat([each.to(device) for each in sums.values()])
        gates = found.new_zeros(len(self._filters) + 1).index_add(0, live.read, found)[live.places]
        # First to a size that can be squared, whatever the gradients' scale is.
        squares = (gates / gates.abs().max()).square()
        shares = squares * (live.filters / squares.sum())
        # A step that has no finite gradients, or none but zeros, says nothing.
        says = shares.isfinite().all()
        means, steps = self._means.to(device), self._steps.to(device)
        old, count = means[live.places], steps[live.places] + says
        new = torch.where(says, torch.lerp(old, shares, 1 / count.clamp(1, _STEPS)), old)
        self._means = means.index_copy(0, live.places, new)
        self._steps = steps.index_copy(0, live.places, count)

    def _live_channels(self, names: Sequence[_Reader], device: torch.device) -> _LiveChannels:
        """The channels that these weights, as far as they are kept, read now."""
        masks = self._compact.kept_masks
        if self._live is None or self._live.masks is not masks or self._live.names != names:
            parts = []
            for name, dim in names:
                kept, owners = masks.get(name, {}).get(dim), self._readers[name, dim]
                parts.append(owners if kept is None else owners[kept])
            read = torch.cat(parts)
            places = torch.unique(read[read < len(self._filters)])
            filters = int(self._filters[places].sum())
            self._live = _LiveChannels(masks, names, read.to(device), places.to(device), filters)
        return self._live


@dataclass(frozen=True)
class _LiveChannels:
    """What a step's gradients tell of, as long as the layout is the same.

    Attributes:
        masks, names: of which layout and of which weights.
        read: (R,) the channel of each position that is summed up; one beyond all for nobody's.
        places: (L,) the channels among them.
        filters: how many filters go with these.
    """

    masks: KeptMasks
    names: Sequence[_Reader]
    read: Tensor
    places: Tensor
    filters: int
