"""Products of tensors: what is summed over are positions, or the channels are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, OutputIds

_GROUPED_MULTIPLE = 8
"""The kernels of grouped products take rows of 16 bytes and multiples of that: 8 half floats."""


class _Operand(NamedTuple):
    tensor: Tensor
    ids: ChannelIds | None
    letters: str

    @classmethod
    def of(cls, table: ChannelTable, tensor: Tensor, letters: str) -> Self:
        return cls(tensor, table[tensor], letters)

    def repeated(self, times: int) -> Self:
        """Heads of keys or values, each for several of the queries'."""
        ids = self.ids
        return self if ids is None else self._replace(ids=ids.repeat_interleave(times, -3))


def _matmul(table: ChannelTable, call: Call) -> OutputIds:
    first, second = call.args if len(call.args) == 2 else call.inputs[:2]
    if call.name == "__rmatmul__":
        first, second = second, first
    return [_matrix_product(table, call, first, second)]


def _plus_matmul(table: ChannelTable, call: Call) -> OutputIds:
    """``input + first @ second``."""
    added, first, second = (
        call.argument(0, "input"), call.argument(1, "mat1"), call.argument(2, "mat2")
    )  # fmt: skip
    if first is None or second is None:
        first, second = call.argument(1, "batch1"), call.argument(2, "batch2")
    product = _matrix_product(table, call, first, second)
    parts = [part for part in (product, table[added]) if part is not None]
    return [table.meetings.of(parts, call.outputs[0].shape, call.place)]


def _matrix_product(
    table: ChannelTable, call: Call, first: Tensor, second: Tensor
) -> ChannelIds | None:
    by_weight = _by_weight(table, call, first, second)
    if by_weight is not None:
        return by_weight
    mine = "k" if first.dim() == 1 else "." * (first.dim() - 2) + "mk"
    theirs = "k" if second.dim() == 1 else "." * (second.dim() - 2) + "kn"
    made = ("m" if first.dim() > 1 else "") + ("n" if second.dim() > 1 else "")
    operands = (_Operand.of(table, first, mine), _Operand.of(table, second, theirs))
    return _product(table, call, operands, "..." + made)


def _by_weight(table: ChannelTable, call: Call, first: Tensor, second: Tensor) -> ChannelIds | None:
    """By a module's own matrix, or one for each expert: it reads channels and makes others.

    None where neither factor is one.
    """
    if second.dim() > 1 and second in table.parts:
        summed, makes = second.dim() - 2, second.dim() - 1
        weight = table.layer_weight(second, (summed, makes), makes)
        inputs, read_along, made_along = first, first.dim() - 1, -1
    elif first.dim() > 1 and second.dim() > 1 and first in table.parts:
        summed, makes = first.dim() - 1, first.dim() - 2
        weight = table.layer_weight(first, (summed, makes), makes)
        inputs, read_along, made_along = second, second.dim() - 2, -2
    else:
        return None
    if weight is None:
        return None
    read = table.along(inputs, read_along)
    if read is not None:
        table.coupling.tie(read, weight[summed])
    made = weight[makes]
    shape = call.outputs[0].shape
    return (made if made_along == -1 else made[:, None]).expand(shape)


def _grouped(table: ChannelTable, call: Call) -> OutputIds:
    """Rows of the first factor by the matrix of the expert that the offsets say."""
    first, second = call.inputs[:2]
    if second.dim() != 3 or first.dim() != 2:
        return None
    made = _by_weight(table, call, first, second)
    if made is None:
        return None
    for ids in (made[0], table.along(first, 1)):
        if ids is not None:
            table.coupling.in_multiples(ids, _GROUPED_MULTIPLE)
    return [made]


def _einsum(table: ChannelTable, call: Call) -> OutputIds:
    equation, *operands = call.args
    if not isinstance(equation, str):
        return None
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if not arrow:
        letters = sorted(set(left) - {",", "."})
        result = ("..." if "." in left else "") + "".join(
            letter for letter in letters if left.count(letter) == 1
        )
    if any(len(set(each)) < len(each.replace("...", ".")) for each in names):
        return None  # a diagonal
    if len(operands) == 2 and "." not in equation:
        made = _einsum_by_weight(table, call, operands, names, result)
        if made is not None:
            return made
    spelled = [
        _Operand.of(table, tensor, each.replace("...", "." * _broadcast(tensor, each)))
        for tensor, each in zip(operands, names, strict=True)
    ]
    return [_product(table, call, spelled, result)]


def _einsum_by_weight(
    table: ChannelTable, call: Call, operands: Sequence[Tensor], names: Sequence[str], result: str
) -> OutputIds:
    """As a product by a module's own matrix, whose dimensions are spelled out."""
    for weight, inputs, mine, theirs in (
        (operands[0], operands[1], names[0], names[1]),
        (operands[1], operands[0], names[1], names[0]),
    ):
        summed = [letter for letter in mine if letter in theirs and letter not in result]
        makes = [letter for letter in mine if letter in result and letter not in theirs]
        if not len(summed) == len(makes) == 1 or weight not in table.parts:
            continue
        reads, made = mine.index(summed[0]), mine.index(makes[0])
        ids = table.layer_weight(weight, (reads, made), made)
        if ids is None:
            continue
        read = table.along(inputs, theirs.index(summed[0]))
        if read is not None:
            table.coupling.tie(read, ids[reads])
        shape = [-1 if letter == makes[0] else 1 for letter in result]
        return [ids[made].reshape(shape).expand(call.outputs[0].shape)]
    return None


def _attention(table: ChannelTable, call: Call) -> OutputIds:
    """What is attended to is summed over positions; that queries and keys agree, over channels."""
    query, key, value = (
        call.argument(number, name) for number, name in enumerate(("query", "key", "value"))
    )
    mask = call.argument(3, "attn_mask")
    queries, keys, values = (
        _Operand.of(table, tensor, "." * (tensor.dim() - 2) + letters)
        for tensor, letters in ((query, "ld"), (key, "sd"), (value, "se"))
    )
    if call.kwargs.get("enable_gqa"):
        times = query.shape[-3] // key.shape[-3]
        keys, values = keys.repeated(times), values.repeated(times)
    shape = torch.Size([*call.outputs[0].shape[:-1], key.shape[-2]])
    scores = _product(table, call, (queries, keys), "...ls", shape)
    masked = [ids for ids in (scores, None if mask is None else table[mask]) if ids is not None]
    scores = table.meetings.of(masked, shape, call.place)
    attention = _Operand(query, scores, "." * (len(shape) - 2) + "ls")
    return [_product(table, call, (attention, values), "...le")]


def _product(
    table: ChannelTable,
    call: Call,
    operands: Sequence[_Operand],
    result: str,
    shape: torch.Size | None = None,
) -> ChannelIds | None:
    """The ids of a product, as in einsum.

    Of an operand that is summed over its channels whole rows of them go, as the heads of an
    attention; where there are none, it has to stay. The others' channels go on.

    Args:
        operands: their letters are one a dimension, a dot for each one that is broadcast.
        result: letters, and at most one "..." for all dots.
        shape: of the product; by default what the call gives.
    """
    shape = call.outputs[0].shape if shape is None else shape
    before, dots, behind = result.partition("...")
    more = len(shape) - len(before) - len(behind) if dots else 0
    parts = []
    reason = f"{call.place} mixes channels ({call.name})"
    for tensor, ids, letters in operands:
        if ids is None:
            continue
        line: ChannelIds | None = ids
        for dim, letter in enumerate(letters):
            if line is not None and letter not in result:
                line = table.coupling.line(line, dim, reason)
        if line is None:
            table.bind([tensor], reason)
            continue
        # Each dimension of the result is one of this operand's, or new.
        broadcast = [dim for dim, letter in enumerate(letters) if dots and letter == "."]
        sources = [
            *(letters.find(letter) for letter in before),
            *[-1] * (more - len(broadcast)),
            *broadcast,
            *(letters.find(letter) for letter in behind),
        ]
        gone = [dim for dim in range(ids.dim()) if dim not in sources]
        kept = [source for source in sources if source >= 0]
        moved = line.permute(*kept, *gone).flatten(len(kept)) if gone else line.permute(*kept)
        moved = moved[..., 0] if gone else moved
        for place, source in enumerate(sources):
            moved = moved.unsqueeze(place) if source < 0 else moved
        parts.append(moved)
    return table.meetings.of(parts, shape, call.place)


def _broadcast(tensor: Tensor, letters: str) -> int:
    """How many of its dimensions an ellipsis stands for."""
    return tensor.dim() - len(letters.replace("...", ""))


RULES = {
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv"), _matmul),
    **dict.fromkeys(("addmm", "baddbmm"), _plus_matmul),
    **dict.fromkeys(("_grouped_mm", "grouped_mm", "grouped_mm_fallback"), _grouped),
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
}
