"""What moves elements about: the same is done to their channel ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import (
    ChannelIds,
    OutputIds,
    single,
    thin,
    varies,
)

_SPLIT = frozenset(("reshape", "view", "unflatten", "view_as", "reshape_as"))
_JOIN = frozenset(("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"))
_LIKE = frozenset(("view_as", "reshape_as", "expand_as"))
_MOVE = _SPLIT | _JOIN | _LIKE | {
    "__getitem__", "__get__", "broadcast_to", "channel_shuffle", "chunk", "clone",
    "contiguous", "expand", "flatten", "flip",
    "index_select", "moveaxis", "movedim", "narrow", "permute", "pixel_shuffle",
    "pixel_unshuffle", "repeat", "repeat_interleave", "roll", "select", "split",
    "split_with_sizes", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "tile",
    "transpose", "unbind", "unfold", "unsqueeze",
}  # fmt: skip


def _move(table: ChannelTable, call: Call) -> OutputIds:
    """The same is done to the ids."""
    data = call.inputs if call.name in _JOIN | _LIKE else call.inputs[:1]
    table.bind(call.inputs[len(data) :], f"{call.place} uses it as an index ({call.name})")
    if all(table[tensor] is None for tensor in data):
        return [None] * len(call.outputs)
    try:
        after = _moved(table, call, len(data))
    except Exception:  # noqa: BLE001 - what can't be done to ids isn't traced
        after = None
    if after is None:
        return None
    before = table[data[0]]
    if call.name in _SPLIT and before is not None:
        if _varying(after[0]) > _varying(before):
            table.meetings.splits.append(thin(after[0]))
            table.cut_across |= _cuts_across(after[0])
    elif call.name == "chunk":
        # Halves are halves of whatever is left, so they have to lose the same.
        for each in after[1:]:
            if each.shape == after[0].shape:
                table.coupling.tie(after[0], each)
    return after


def _varying(ids: ChannelIds) -> int:
    """Along how many dimensions there are different ids."""
    return sum(varies(ids, dim) for dim in range(ids.dim()))


def _cuts_across(ids: ChannelIds) -> bool:
    """Whether a channel lies at several places along the dimensions that tell channels apart.

    So it does where (N, positions, channels) is read as (N, channels, height, width), say.
    """
    for dim in range(ids.dim()):
        if not varies(ids, dim):
            ids = ids.narrow(dim, 0, 1)
    channels = ids[ids > 0]
    return len(torch.unique(channels)) < len(channels)


def _moved(table: ChannelTable, call: Call, data: int) -> tuple[ChannelIds, ...] | None:
    """What a call gives on ids.

    Args:
        data: how many of the tensors that it takes are moved; the others are indices.
    """

    def on(stand_in: int, all_alike: int | None = None) -> tuple[Tensor, ...]:
        """With an index in the place of those without values, perhaps one id a line."""
        places = count()

        def change(tensor: Tensor) -> Tensor:
            if next(places) >= data:
                if not tensor.is_meta:
                    return tensor.cpu()
                return torch.full(tensor.shape, stand_in, dtype=tensor.dtype)
            # Of whatever type: the values of an integer tensor are no ids of positions.
            ids = table[tensor]
            if ids is None:
                return torch.zeros(tensor.shape, dtype=torch.float64)
            if all_alike is None:
                return ids
            return thin(ids).amax(all_alike, keepdim=True).expand(ids.shape)

        return call.on(change)

    after = on(0)
    if not any(tensor.is_meta for tensor in call.inputs[data:]) or _equal(after, on(-1)):
        return after
    # Indices without values: right where it doesn't matter which ones they are.
    ids = table[call.inputs[0]]
    if data > 1 or ids is None:
        return None
    for dim in range(ids.dim()):
        after = on(0, dim)
        if _varying(after[0]) and _equal(after, on(-1, dim)):
            lines = thin(ids)
            table.coupling.tie(lines.amax(dim, keepdim=True), lines)
            return after
    return None


def _equal(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, mine, theirs))


def _pad(table: ChannelTable, call: Call) -> OutputIds:
    """A border belongs to the channel that it lies around; one of other channels is nobody's."""
    ids = table[call.argument(0, "input")]
    if ids is None:
        return [None]
    widths = [int(width) for width in call.argument(1, "pad")]
    for number in range(len(widths) // 2):
        before, after = widths[2 * number : 2 * number + 2]
        dim = ids.dim() - 1 - number
        line = single(ids, dim)
        if line is not None:
            sizes = list(ids.shape)
            sizes[dim] += before + after
            ids = line.expand(sizes)
        elif (call.argument(2, "mode") or "constant") == "constant":
            ids = functional.pad(ids, [0, 0] * number + [before, after])
        elif before or after:
            return None
    return [ids]


def _gather(table: ChannelTable, call: Call) -> OutputIds:
    """Along positions each channel keeps to itself, whatever the indices are."""
    inputs, dim, index = (
        call.argument(0, "input"),
        call.argument(1, "dim"),
        call.argument(2, "index"),
    )
    if call.name == "take_along_dim":
        index, dim = call.argument(1, "indices"), call.argument(2, "dim")
    if dim is None:
        return None
    parts = [] if (of_index := table[index]) is None else [of_index]
    ids = table[inputs]
    if ids is not None:
        line = single(ids, dim)
        if line is None:
            return None
        for other, size in enumerate(call.outputs[0].shape):
            line = line.narrow(other, 0, min(size, line.shape[other]))
        parts.append(line)
    return [table.meetings.of(parts, call.outputs[0].shape, call.place)]


def _fold(table: ChannelTable, call: Call) -> OutputIds:
    """Patches put together again: (N, C * places, L) to (N, C, height, width)."""
    ids, output = table[call.argument(0, "input")], call.outputs[0]
    if ids is None:
        return [None]
    line = single(ids, -1)
    if line is None:
        return None
    rows = line.reshape(*line.shape[:-2], output.shape[-3], -1)
    channels = rows.amax(-1, keepdim=True)
    table.coupling.tie(channels, rows)
    return [channels.unsqueeze(-1).expand(output.shape)]


def _glu(table: ChannelTable, call: Call) -> OutputIds:
    """One half gates the other one, so they have to lose the same."""
    ids, dim = table[call.argument(0, "input")], call.argument(1, "dim")
    if ids is None:
        return [None]
    first, second = ids.chunk(2, -1 if dim is None else dim)
    return [table.meetings.of([first, second], call.outputs[0].shape, call.place)]


def _as_complex(table: ChannelTable, call: Call) -> OutputIds:
    """The real and the imaginary part of a number lie along the last dimension."""
    ids = table[call.inputs[0]]
    if ids is None:
        return [None]
    table.coupling.tie(ids[..., 0], ids[..., 1])
    return [ids[..., 0]]


def _as_real(table: ChannelTable, call: Call) -> OutputIds:
    ids = table[call.inputs[0]]
    return [None if ids is None else ids.unsqueeze(-1).expand(call.outputs[0].shape)]


RULES = {
    **dict.fromkeys(_MOVE, _move),
    **dict.fromkeys(("gather", "take_along_dim"), _gather),
    "pad": _pad,
    "fold": _fold,
    "glu": _glu,
    "view_as_complex": _as_complex,
    "view_as_real": _as_real,
}
