"""How much a filter matters, judged by its weights; the lowest go first.

A layer's filters are the rows of a (F, N) matrix: F filters of N weights each. Every function
gives (F,) importances in the weights' own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from accaware.pytorch.channels.compact import CompactModel
from accaware.pytorch.channels.layout import ChannelGroup, Layout
from accaware.pytorch.compression.pruning.evolution import Affine

_BLOCK = 256
"""Rows of distances at a time: bounds the memory to a block of the F x F matrix."""


Cost = Callable[[Mapping[str, torch.Size]], float]
"""What a model costs whose tensors, by name, have these shapes: FLOPs, parameters, a latency."""


def l1(filters: Tensor) -> Tensor:
    """Li et al., "Pruning Filters for Efficient ConvNets" (2017), section 3.1."""
    return filters.abs().sum(dim=1)


def l2(filters: Tensor) -> Tensor:
    """As l1, with the Euclidean norm."""
    return filters.square().sum(dim=1).sqrt()


def geometric_median(filters: Tensor) -> Tensor:
    """The sum of a filter's distances to the layer's other filters.

    He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
    Acceleration" (2019), section 3.3: filters near the median are the replaceable ones.
    """
    # Distances from inner products lose half their digits where filters are nearly equal. In
    # double precision that half is still single precision's; centring the filters (which moves
    # no distance) keeps the products small.
    on_mps = filters.device.type == "mps"  # which has no double precision
    centred = (filters.cpu() if on_mps else filters).to(torch.float64, copy=True)
    centred -= centred.mean(dim=0)
    squares = centred.square().sum(dim=1)
    sums = torch.zeros_like(squares)
    for start in range(0, len(centred), _BLOCK):
        block = slice(start, start + _BLOCK)
        # Only the upper triangle of blocks: each pair of filters is computed once.
        distances = centred[block] @ centred[start:].T
        distances.mul_(-2).add_(squares[block, None]).add_(squares[None, start:])
        distances.clamp_(min=0).sqrt_()
        width = distances.shape[0]
        distances[:, :width].fill_diagonal_(0)
        sums[block] += distances.sum(dim=1)
        sums[start + width :] += distances[:, width:].sum(dim=0)
    return sums.to(filters.dtype)


IMPORTANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "L1": l1,
    "L2": l2,
    "geometric_median": geometric_median,
}


def layer_importances(
    groups: Sequence[ChannelGroup],
    dense: Mapping[str, Tensor],
    importance: str,
    *,
    comparable: bool,
) -> dict[str, Tensor]:
    """For each layer that produces channels the (F,) importances of its filters, on the CPU.

    Args:
        dense: the dense weights by name.
        importance: a name of IMPORTANCES.
        comparable: measure each layer's filters in units of that layer's root mean square
            importance, so that wide and narrow layers can be ranked together.
    """
    return {
        slot.layer: _scores(dense[slot.tensor], slot.dim, importance, comparable=comparable)
        for group in groups
        for slot in group.producing_weights()
    }


def _scores(weight: Tensor, dim: int, importance: str, *, comparable: bool) -> Tensor:
    """The importances of a weight's slices along a dimension, on the CPU."""
    scores = IMPORTANCES[importance](weight.movedim(dim, 0).flatten(1).float()).cpu()
    if comparable:
        scores = scores / scores.square().mean().sqrt().clamp_min(1e-30)
    return scores


def channel_importances(
    groups: Sequence[ChannelGroup],
    dense: Mapping[str, Tensor],
    importance: str,
    *,
    comparable: bool,
    coefficients: Mapping[str, Affine] | None = None,
) -> list[Tensor]:
    """For each group the (C,) importances of its channels, on the CPU.

    Coupled filters add up: a channel matters as much as all the filters that go with it. An
    attention head is its queries, keys and values, and what its output is multiplied with as well.

    Args:
        coefficients: by layer, what is made of its filters' importances, and of these alone; None
            for nothing.
    """
    by_layer = layer_importances(groups, dense, importance, comparable=comparable)
    result = []
    for group in groups:
        total = torch.zeros(group.size)
        for slot in group.producing_weights():
            scores = by_layer[slot.layer]
            if coefficients is not None:
                affine = coefficients[slot.layer]
                scores = affine.scale * scores + affine.shift
            total.index_add_(0, slot.channels, scores[slot.positions])
        if group.united and coefficients is None:
            total = _with_readers(total, group, dense, importance, comparable=comparable)
        result.append(total)
    return result


def _with_readers(
    total: Tensor,
    group: ChannelGroup,
    dense: Mapping[str, Tensor],
    importance: str,
    *,
    comparable: bool,
) -> Tensor:
    """(C,) with the slices that read the channels, and as large in the mean as without them."""
    filters = group.filters_per_channel()
    counts = filters.clone()
    total = total.clone()
    for slot in group.slots:
        if not slot.produces and slot.tensor in dense and dense[slot.tensor].dim() > 1:
            scores = _scores(dense[slot.tensor], slot.dim, importance, comparable=comparable)
            total.index_add_(0, slot.channels, scores[slot.positions])
            counts += torch.bincount(slot.channels, minlength=group.size)
    return total * (filters / counts)


def channel_savings(compact: CompactModel, cost: Cost) -> list[Tensor]:
    """For each group the (C,) costs that the dense model is spared without one of its channels.

    Channels that lie along the same dimensions of the same tensors are spared the same.

    Args:
        cost: what a model with tensors of these shapes costs, in any unit.
    """
    dense, result = Layout.dense(compact.groups), []
    whole = cost(compact.shapes_under(dense))
    for at, group in enumerate(compact.groups):
        places = [torch.bincount(slot.channels, minlength=group.size) for slot in group.slots]
        _, kinds = torch.unique(torch.stack(places), dim=1, return_inverse=True)
        spared = torch.zeros(group.size)
        for kind in torch.unique(kinds):
            alike = kinds == kind
            kept = list(dense.kept)
            kept[at] = torch.ones(group.size, dtype=torch.bool)
            kept[at][alike.nonzero()[0]] = False
            spared[alike] = whole - cost(compact.shapes_under(Layout(tuple(kept))))
        # What spares nothing goes last.
        result.append(spared.clamp_min(1e-30))
    return result
