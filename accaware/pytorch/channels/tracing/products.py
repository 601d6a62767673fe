"""Products of tensors: what is summed over are positions, or the channels are mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, OutputIds


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
    return [table.meet(parts, call.outputs[0].shape, call.place)]


def _matrix_product(
    table: ChannelTable, call: Call, first: Tensor, second: Tensor
) -> ChannelIds | None:
    if second.dim() == 2 and (weight := table.layer_weight(second, (0, 1), 1)) is not None:
        return _by_layer(table, call, first, weight.dims)
    mine = "k" if first.dim() == 1 else "." * (first.dim() - 2) + "mk"
    theirs = "k" if second.dim() == 1 else "." * (second.dim() - 2) + "kn"
    made = ("m" if first.dim() > 1 else "") + ("n" if second.dim() > 1 else "")
    operands = (_Operand.of(table, first, mine), _Operand.of(table, second, theirs))
    return _product(table, call, operands, "..." + made)


def _by_layer(
    table: ChannelTable, call: Call, first: Tensor, dims: Mapping[int, ChannelIds]
) -> ChannelIds:
    """By a module's own matrix, which reads channels and makes others, as a linear layer does."""
    read = table.along(first, first.dim() - 1)
    if read is not None:
        table.coupling.tie(read, dims[0])
    return dims[1].expand(call.outputs[0].shape)


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
    spelled = [
        _Operand.of(table, tensor, each.replace("...", "." * _broadcast(tensor, each)))
        for tensor, each in zip(operands, names, strict=True)
    ]
    return [_product(table, call, spelled, result)]


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
    scores = table.meet(masked, shape, call.place)
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
    return table.meet(parts, shape, call.place)


def _broadcast(tensor: Tensor, letters: str) -> int:
    """How many of its dimensions an ellipsis stands for."""
    return tensor.dim() - len(letters.replace("...", ""))


RULES = {
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv"), _matmul),
    **dict.fromkeys(("addmm", "baddbmm"), _plus_matmul),
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
}
