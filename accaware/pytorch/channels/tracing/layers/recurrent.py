"""Recurrent layers, whose hidden units are read by themselves and by the layers above.

A unit is a row of each gate's matrices and biases, and a column of what reads its state. A module
has one hidden_size, so that all of its layers and directions lose the same units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, OutputIds
from accaware.pytorch.model.tensors import tensors_in

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True)
class _Direction:
    """The channels of one layer in one direction.

    Attributes:
        reads: (I,) of its input.
        units: (H,) its hidden units.
        state: (H,) what its units give, or the (P,) outputs of their projection.
        feedback: (H,) or (P,) of its own state, which it reads.
    """

    reads: ChannelIds
    units: ChannelIds
    state: ChannelIds
    feedback: ChannelIds


def _layers(table: ChannelTable, call: Call) -> OutputIds:
    """A module of several layers, in one direction or both, over whole sequences."""
    packed = not isinstance(call.args[3], bool)
    states, weights, biases, layers = call.args[1 + packed : 5 + packed]
    ways = 1 + call.args[7 + packed]
    found = _directions(table, call.name, _chunks(weights, layers * ways))
    if found is None:
        return _stays(table, call)
    inputs = call.args[0]
    read = table.along(inputs, inputs.dim() - 1)
    for layer in range(layers):
        here = found[layer * ways : (layer + 1) * ways]
        for each in here:
            if read is not None:
                table.coupling.tie(read, each.reads)
        read = torch.cat([each.state for each in here])
    assert read is not None
    first = found[0]
    for each in found:
        table.coupling.tie(first.units, each.units)
        table.coupling.tie(first.state, each.state)
        table.coupling.tie(each.state, each.feedback)
    if len(weights) > len(found) * (2 + 2 * biases):
        reason = f"{call.place} has a projection (proj_size), which torch takes for none once it is"
        table.coupling.bind(first.units, f"{reason} as wide as its hidden units")
    _tie_states(table, states, first)
    output, *given = call.outputs
    return [read.expand(output.shape), *_of_states(given, first)]


def _cell(table: ChannelTable, call: Call) -> OutputIds:
    """One layer over one step; what goes over a sequence is the user's."""
    inputs, states, *weights = call.args
    kind = call.name.removesuffix("_cell")
    found = _directions(table, kind, [[each for each in weights if each is not None]])
    if found is None:
        return _stays(table, call)
    (own,) = found
    read = table.along(inputs, inputs.dim() - 1)
    if read is not None:
        table.coupling.tie(read, own.reads)
    table.coupling.tie(own.state, own.feedback)
    _tie_states(table, states, own)
    return list(_of_states(call.outputs, own))


def _stays(table: ChannelTable, call: Call) -> OutputIds:
    table.bind(
        call.inputs, f"{call.place} uses a weight that is computed, or is another layer's as well"
    )
    return [None] * len(call.outputs)


def _directions(
    table: ChannelTable, kind: str, weights: Sequence[Sequence[Tensor]]
) -> list[_Direction] | None:
    """None where some weight isn't the module's own."""
    found = []
    for own in weights:
        matrices: list[Mapping[int, ChannelIds]] = []
        biases: list[ChannelIds] = []
        for tensor in own:
            if tensor.dim() == 1:
                biases += [] if (ids := table[tensor]) is None else [ids]
                continue
            weight = table.layer_weight(tensor, (0, 1), 0)
            if weight is None:
                return None
            matrices.append(weight)
        of_inputs, of_state, *projection = matrices
        rows = torch.stack([of_inputs[0], of_state[0], *biases])
        gates = rows.reshape(len(rows), _GATES[kind], -1)
        units = gates[0, 0]
        table.coupling.tie(units, gates)
        state = units
        if projection:
            table.coupling.tie(units, projection[0][1])
            state = projection[0][0]
        found.append(_Direction(of_inputs[1], units, state, of_state[1]))
    return found


def _chunks(weights: Sequence[Tensor], number: int) -> list[Sequence[Tensor]]:
    size = len(weights) // number
    return [weights[place * size : (place + 1) * size] for place in range(number)]


def _tie_states(table: ChannelTable, states: Any, own: _Direction) -> None:
    """Initial states that were given; those that torch makes have no channels."""
    for state, channels in zip(tensors_in(states), (own.state, own.units), strict=False):
        given = table.along(state, state.dim() - 1)
        if given is not None:
            table.coupling.tie(given, channels)


def _of_states(given: Sequence[Tensor], own: _Direction) -> Iterator[ChannelIds]:
    """Of the last states: what the units give, and of an LSTM its cells."""
    for tensor, channels in zip(given, (own.state, own.units), strict=False):
        yield channels.expand(tensor.shape)


def _packed(table: ChannelTable, call: Call) -> OutputIds:
    """Sequences of several lengths, padded or one after the other: features are features."""
    inputs = call.inputs[0]
    features = table.along(inputs, inputs.dim() - 1)
    output, *lengths = call.outputs
    return [None if features is None else features.expand(output.shape), *[None] * len(lengths)]


RULES = {
    **dict.fromkeys(_GATES, _layers),
    **{f"{kind}_cell": _cell for kind in _GATES},
    **dict.fromkeys(("_pack_padded_sequence", "_pad_packed_sequence"), _packed),
}
