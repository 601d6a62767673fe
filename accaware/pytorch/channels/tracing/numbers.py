"""Numbers that modules keep of their channels (``num_heads``, ``all_head_size``) as these are used.

An attention reshapes by its ``num_heads``: with fewer heads it has to be a smaller number, as a
convolution's ``out_channels`` is. While a model is traced each whole number among its modules'
attributes knows its name, wherever the forward carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, thin, varies

_RESHAPE = frozenset(("reshape", "view", "unflatten", "expand", "broadcast_to"))
_SPLIT = frozenset(("split", "split_with_sizes"))


class OwnNumber(int):
    """A module's attribute, which is this number.

    Attributes:
        name: the module's and the attribute's, as a tensor's.
    """

    name: str

    @classmethod
    def of(cls, value: int, name: str) -> Self:
        """The number, with its name."""
        number = cls(value)
        number.name = name
        return number


def name_numbers(model: nn.Module) -> None:
    """Put numbers that know their names in the place of the modules' own, in place.

    Torch's own layers are told their sizes by their tensors
    (accaware.pytorch.model.layers.update_sizes).
    """
    for prefix, module in model.named_modules():
        if type(module).__module__.startswith("torch.") or isinstance(
            module, torch.jit.ScriptModule
        ):
            continue
        for key, value in vars(module).items():
            if type(value) is int and value > 1:
                name = f"{prefix}.{key}" if prefix else key
                vars(module)[key] = OwnNumber.of(value, name)


def follow_numbers(table: ChannelTable, call: Call) -> None:
    """Where a size that a call was given is a module's own number: it is one of these channels."""
    for number, tensor, ids, dim in _sizes(table, call):
        of_this_model = 0 <= dim < tensor.dim() and tensor.shape[dim] == number
        if of_this_model and ids is not None and varies(ids, dim):
            table.numbers.append((number.name, thin(ids), dim))


def _sizes(
    table: ChannelTable, call: Call
) -> Iterator[tuple[OwnNumber, Tensor, ChannelIds | None, int]]:
    """Numbers with names, each with a tensor whose size along a dimension it gave."""
    if call.name not in _RESHAPE | _SPLIT | {"narrow", "__getitem__"}:
        return
    source, output = call.inputs[0], call.outputs[0]
    if call.name == "__getitem__":
        for dim, edge in _edges(call.args[1], source.dim()):
            ids = table[source]
            if ids is not None and edge <= source.shape[dim]:
                yield edge, source.narrow(dim, 0, edge), ids.narrow(dim, 0, edge), dim
    elif call.name == "narrow":
        if isinstance(length := call.argument(3, "length"), OwnNumber):
            yield length, output, table[output], call.argument(1, "dim") % output.dim()
    elif call.name in _SPLIT:
        sizes = call.argument(1, "split_size_or_sections")
        sizes = call.argument(1, "split_size") if sizes is None else sizes
        dim = (call.argument(2, "dim") or 0) % source.dim()
        if not isinstance(sizes, (tuple, list)):
            sizes = [sizes] * len(call.outputs)
        for size, part in zip(sizes, call.outputs, strict=False):
            if isinstance(size, OwnNumber):
                yield size, part, table[part], dim
    else:
        skipped = 2 if call.name == "unflatten" else 1
        flat = _flat([*call.args[skipped:], *call.kwargs.values()])
        first = call.argument(1, "dim") % source.dim() if call.name == "unflatten" else 0
        for place, size in enumerate(flat):
            if isinstance(size, OwnNumber) and first + place < output.dim():
                yield size, output, table[output], first + place


def _flat(values: Sequence[Any]) -> list[Any]:
    return [
        each
        for value in values
        for each in (_flat(value) if isinstance(value, (tuple, list)) else [value])
    ]


def _edges(index: Any, dims: int) -> Iterator[tuple[int, OwnNumber]]:
    """Where slices begin or end by a number with a name, each with its dimension."""
    index = index if isinstance(index, tuple) else (index,)
    taken = sum(
        each.dim() if isinstance(each, Tensor) and each.dtype == torch.bool else 1
        for each in index
        if each is not None and each is not Ellipsis
    )
    dim = 0
    for each in index:
        if each is None:
            continue
        if each is Ellipsis:
            dim += dims - taken
            continue
        if isinstance(each, slice):
            for edge in (each.start, each.stop):
                if isinstance(edge, OwnNumber):
                    yield dim, edge
        dim += each.dim() if isinstance(each, Tensor) and each.dtype == torch.bool else 1
