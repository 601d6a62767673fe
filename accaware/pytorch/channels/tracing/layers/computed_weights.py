"""Weights that are computed in each forward: of a parameter of the layer's, which is sliced then.

Weight norm and weight standardisation do that, for each filter by itself. Of an element of such a
weight two ids count, that of its filter and that of the input that it is multiplied with. Filters'
are followed as all ids are; what becomes of the inputs' is found here.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from accaware.pytorch.channels.tracing import movement, norms
from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds

_LAYERS = ("linear", "conv", "deform_conv", "embedding", "multi_head_attention_forward", "bilinear")
"""How functions' names begin which are given a weight to use it."""
_CONVERT = ("to", "type_as")
_RULES = {**movement.RULES, "_weight_norm": norms.RULES["_weight_norm"]}
"""What keeps inputs apart; beside what works element by element."""


def follow_weight(
    table: ChannelTable, call: Call, multiplied: Sequence[Tensor], *, element_by_element: bool
) -> None:
    """Give the outputs of a call the ids of the inputs that a weight reads, where it is of one.

    Args:
        multiplied: what the call takes for layers' weights.
        element_by_element: the call does nothing else.
    """
    if call.name.startswith(_LAYERS):
        return
    weights = {id(tensor) for tensor in multiplied}
    inputs = [tensor for tensor in call.inputs if id(tensor) not in weights]
    layers = [each for tensor in inputs if (each := table.computed_for(tensor)) is not None]
    layer = layers[0] if layers else None
    alone = not weights and all(map(table.of_parameters, inputs))
    if alone:
        for tensor in call.outputs:
            table.compute(tensor, layer)
    if layer is None:
        return
    with table.by_inputs():
        read = [ids for tensor in inputs if (ids := table[tensor]) is not None]
        after = _inputs_after(table, call, element_by_element=element_by_element) if alone else None
    if after is None:
        table.fix_inputs(read, layer, call.name)
    with table.by_inputs():
        for place, tensor in enumerate(call.outputs):
            table[tensor] = None if after is None else after[place]


def _inputs_after(
    table: ChannelTable, call: Call, *, element_by_element: bool
) -> list[ChannelIds | None] | None:
    """The ids of the outputs; None where inputs are mixed."""
    if all(table[tensor] is None for tensor in call.inputs):
        return [None] * len(call.outputs)
    rule = _RULES.get(call.name)
    if rule is not None:
        after = rule(table, call)
        return None if after is None else list(after)
    if call.name in _CONVERT:
        return [table[call.inputs[0]]]
    if element_by_element:
        parts = [ids for tensor in call.inputs if (ids := table[tensor]) is not None]
        shape = call.outputs[0].shape
        return [table.meetings.of(parts, shape, call.place)] * len(call.outputs)
    return None
