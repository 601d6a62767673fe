"""Numbers that modules keep of their channels (``num_heads``, ``all_head_size``) as these are used.

An attention reshapes by its ``num_heads``: with fewer heads it has to be a smaller number, as a
convolution's ``out_channels`` is. While a model is traced each whole number among its modules'
attributes knows its name, wherever the forward carries it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.numbers import name_of, numbers_of
from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, thin, varies

_RESHAPE = frozenset(("reshape", "view", "unflatten", "expand", "broadcast_to"))
_SPLIT = frozenset(("split", "split_with_sizes"))
_FILL = frozenset(("zeros", "ones", "full", "empty", "rand", "randn"))


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

    def __floordiv__(self, parts: Any) -> Any:
        share = int(self) // parts
        exact = isinstance(parts, int) and parts > 1 and share * parts == self
        return Share.of_number(share, self) if exact else share


class Share(int):
    """One of the equal parts of a module's number.

    Attributes:
        whole: the number.
    """

    whole: OwnNumber

    @classmethod
    def of_number(cls, value: int, whole: OwnNumber) -> Self:
        """The share, with what it is one of."""
        share = cls(value)
        share.whole = whole
        return share


def name_numbers(model: nn.Module) -> dict[str, OwnNumber]:
    """Put numbers that know their names in the place of the modules' own, in place.

    Torch's own layers are told their sizes by their tensors
    (accaware.pytorch.model.layers.update_sizes).

    Returns:
        All of them, by their names.
    """
    named: dict[str, OwnNumber] = {}
    for prefix, module in model.named_modules():
        if type(module).__module__.startswith("torch.") or isinstance(
            module, torch.jit.ScriptModule
        ):
            continue
        for key, place, value in list(numbers_of(module)):
            if value > 1:
                name = name_of(prefix, key, place)
                named[name] = OwnNumber.of(value, name)
                if place is None:
                    vars(module)[key] = named[name]
                else:
                    several = list(vars(module)[key])
                    several[place] = named[name]
                    vars(module)[key] = type(vars(module)[key])(several)
    return named


def follow_numbers(table: ChannelTable, call: Call) -> None:
    """Where a size that a call was given is a module's own number: it is one of these channels."""
    if call.name not in _RESHAPE | _SPLIT | {"narrow", "__getitem__"}:
        return
    if call.name in _SPLIT:
        _keep_alike(table, call)
    for number, ids, dim in _sizes(table, call):
        if 0 <= dim < ids.dim() and ids.shape[dim] == number and varies(ids, dim):
            name = _name_of(number, table.own_numbers, call.module)
            if name is not None:
                table.numbers.append((name, thin(ids), dim))


def _keep_alike(table: ChannelTable, call: Call) -> None:
    """Where channels are split by a share of a number, all parts lose the same ones."""
    share = _split_sizes(call)
    parts = [ids for part in call.outputs if (ids := table[part]) is not None]
    if isinstance(share, Share) and len({part.shape for part in parts}) == 1:
        for part in parts[1:]:
            table.coupling.tie(parts[0], part)


def _split_sizes(call: Call) -> Any:
    return call.argument(1, "split_size_or_sections") or call.argument(1, "split_size")


def follow_sizes(table: ChannelTable, call: Call) -> None:
    """Give a tensor that is as large as a module's own number says the channels of this number.

    A bias of zeros for each head is one; where it meets heads, these are what the number counts.
    """
    if call.name not in _FILL:
        return
    sizes = _flat(call.args if call.name != "full" else call.args[:1])
    sizes = sizes or _flat([call.kwargs.get("size", ())])
    output = call.outputs[0]
    named = [
        (dim, name)
        for dim, size in enumerate(sizes)
        if isinstance(size, OwnNumber)
        and (name := _name_of(size, table.own_numbers, call.module)) is not None
    ]
    if len(named) == 1 and len(sizes) == output.dim():
        [(dim, name)] = named
        lines = table.number(name, output.shape[dim])
        table[output] = lines.reshape([-1] + [1] * (output.dim() - 1 - dim)).expand(output.shape)


def _name_of(number: int, own: Mapping[str, int], module: str) -> str | None:
    """Which number it is, of a module that is running or of one within it; None for none.

    A method of a module's that isn't its forward runs as a part of the module which calls it.
    One that comes out of a cache by values, as einops has it, has lost its name, or has another
    module's. It is that number of heads which the module has, then.
    """
    if isinstance(number, OwnNumber) and own.get(number.name) is number:
        owner = number.name.rpartition(".")[0]
        inner, outer = f"{module}.", f"{owner}."
        if not (owner and module) or inner.startswith(outer) or outer.startswith(inner):
            return number.name
    alike = [
        name
        for name, value in own.items()
        if value == number
        and name.rpartition(".")[0] == module
        and "heads" in name.rpartition(".")[2]
    ]
    return alike[0] if len(alike) == 1 else None


def _sizes(table: ChannelTable, call: Call) -> Iterator[tuple[int, ChannelIds, int]]:
    """Sizes that a call was given, each with the ids that have this size along a dimension."""
    source, output = call.inputs[0], call.outputs[0]
    dims, ids = source.dim(), table[source]
    if ids is None:
        return
    if call.name == "__getitem__":
        for dim, edge in _edges(call.args[1], dims):
            if 0 <= dim < dims and 0 < edge <= source.shape[dim]:
                yield edge, ids.narrow(dim, 0, edge), dim
        return
    found: list[tuple[Any, Tensor, int]] = []
    if call.name == "narrow":
        found = [(call.argument(3, "length"), output, call.argument(1, "dim") % dims)]
    elif call.name in _SPLIT:
        sizes, dim = _split_sizes(call), (call.argument(2, "dim") or 0) % dims
        if isinstance(sizes, Share):
            yield sizes.whole, ids, dim
        sizes = sizes if isinstance(sizes, (tuple, list)) else [sizes] * len(call.outputs)
        found = [(size, part, dim) for size, part in zip(sizes, call.outputs, strict=False)]
    else:
        unflattens = call.name == "unflatten"
        first = call.argument(1, "dim") % dims if unflattens else 0
        given = _flat([*call.args[1 + unflattens :], *call.kwargs.values()])
        found = [(size, output, first + place) for place, size in enumerate(given)]
    for size, tensor, dim in found:
        if isinstance(size, int) and (part := table[tensor]) is not None:
            yield size, part, dim


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
