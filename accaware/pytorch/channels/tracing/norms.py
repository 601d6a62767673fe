"""Norms, and what else has a vector with a number for each channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, OutputIds, varies


def _channelwise(table: ChannelTable, call: Call) -> OutputIds:
    """Batch norm and its like, PReLU: vectors with a number for each channel."""
    inputs, *vectors = call.inputs
    channels = table.along(inputs, min(1, inputs.dim() - 1))
    if channels is not None:
        _tie_vectors(table, call, channels, vectors)
    return [table[inputs]]


def _group_norm(table: ChannelTable, call: Call) -> OutputIds:
    """Whole groups go, as a channel is normalised by all of its group."""
    inputs, groups = call.argument(0, "input"), call.argument(1, "num_groups")
    channels = table.along(inputs, 1)
    if channels is None:
        return [None]
    rows = channels.reshape(groups, -1)
    if groups == 1 < len(channels):
        table.coupling.bind(rows, f"{call.place} normalises all channels together")
    mixed = (rows == 0).any(1)
    table.coupling.bind(
        rows[mixed], f"{call.place} normalises them with something that has to stay"
    )
    table.coupling.tie(rows.amax(1, keepdim=True), rows)
    _tie_vectors(table, call, channels, call.inputs[1:])
    return [table[inputs]]


def _tie_vectors(
    table: ChannelTable, call: Call, channels: ChannelIds, vectors: Sequence[Tensor]
) -> None:
    """A norm's vectors with its channels; where it has none, its count of channels."""
    for vector in vectors:
        if (ids := table[vector]) is not None:
            table.coupling.tie(ids, channels)
    if not vectors:
        table.count(call.module, channels)


def _normalisation(table: ChannelTable, call: Call) -> OutputIds:
    """Over the last dimensions: of positions each channel is normalised by itself, a head whole."""
    ids = table[call.inputs[0]]
    if ids is None:
        return [None]
    reason = f"{call.place} normalises each channel by its neighbours"
    for dim in range(-len(call.argument(1, "normalized_shape")), 0):
        line = table.coupling.line(ids, dim, reason)
        if line is None:
            table.bind(call.inputs[:1], reason)
            return [None]
        ids = line.expand(ids.shape)
    return [ids]


def _weight_norm(table: ChannelTable, call: Call) -> OutputIds:
    """Element by element, as the scale makes up for what the norm misses of removed channels.

    accaware.pytorch.channels.weight_norm does that, of the norms that it knows.
    """
    direction, scale, *dim = call.args
    if not table.parameters.is_weight_norm(direction, scale):
        return None
    ids, scales = table[direction], table.vector(scale)
    # Filters in their dimension, or what is read in its own.
    if ids is not None and scales is not None and varies(ids, dim[0] if dim else 0):
        table.coupling.tie(scales, ids)
    return [ids]


RULES = {
    **dict.fromkeys(("batch_norm", "instance_norm", "prelu"), _channelwise),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalisation),
    "group_norm": _group_norm,
    "_weight_norm": _weight_norm,
}
