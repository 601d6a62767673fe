"""Norms, and what else has a vector with a number for each channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import Labels, single
from accaware.pytorch.channels.tracing.numbering import Numbering

Given = Sequence[Labels | None] | None


def _channelwise(numbering: Numbering, call: Call) -> Given:
    """Batch norm and its like, PReLU: vectors with a number for each channel."""
    inputs, *vectors = call.taken
    channels = numbering.along(inputs, min(1, inputs.dim() - 1))
    if channels is not None:
        _tie_vectors(numbering, call, channels, vectors)
    return [numbering[inputs]]


def _group_norm(numbering: Numbering, call: Call) -> Given:
    """Whole groups go, as a channel is normalised by all of its group."""
    inputs, groups = call.argument(0, "input"), call.argument(1, "num_groups")
    channels = numbering.along(inputs, 1)
    if channels is None:
        return [None]
    rows = channels.reshape(groups, -1)
    if groups == 1 < len(channels):
        numbering.coupling.bind(rows, f"{call.place} normalises all channels together")
    mixed = (rows == 0).any(1)
    numbering.coupling.bind(
        rows[mixed], f"{call.place} normalises them with something that has to stay"
    )
    numbering.coupling.tie(rows.amax(1, keepdim=True), rows)
    _tie_vectors(numbering, call, channels, call.taken[1:])
    return [numbering[inputs]]


def _tie_vectors(
    numbering: Numbering, call: Call, channels: Labels, vectors: Sequence[Tensor]
) -> None:
    """A norm's vectors with its channels; where it has none, its count of channels."""
    for vector in vectors:
        if (numbers := numbering[vector]) is not None:
            numbering.coupling.tie(numbers, channels)
    if not vectors:
        numbering.count(call.module, channels)


def _normalisation(numbering: Numbering, call: Call) -> Given:
    """Over the last dimensions: of positions each channel is normalised by itself."""
    labels = numbering[call.taken[0]]
    if labels is None:
        return [None]
    for dim in range(-len(call.argument(1, "normalized_shape")), 0):
        if single(labels, dim) is None:
            numbering.bind(
                call.taken[:1], f"{call.place} normalises each channel by its neighbours"
            )
            return [None]
    return [labels]


RULES = {
    **dict.fromkeys(("batch_norm", "instance_norm", "prelu"), _channelwise),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalisation),
    "group_norm": _group_norm,
}
