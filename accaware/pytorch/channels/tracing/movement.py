"""What moves elements about: the same is done to their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import Labels, single, varies
from accaware.pytorch.channels.tracing.numbering import Numbering

Given = Sequence[Labels | None] | None

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


def _move(numbering: Numbering, call: Call) -> Given:
    """The same is done to the numbers."""
    data = call.taken if call.name in _JOIN | _LIKE else call.taken[:1]
    numbering.bind(call.taken[len(data) :], f"{call.place} uses it as an index ({call.name})")
    if all(numbering[tensor] is None for tensor in data):
        return [None] * len(call.given)
    try:
        after = _moved(numbering, call, len(data))
    except Exception:  # noqa: BLE001 - what can't be done to numbers isn't followed
        after = None
    if after is None:
        return None
    before = numbering[data[0]]
    if call.name in _SPLIT and before is not None:
        varying = [dim for dim in range(after[0].dim()) if varies(after[0], dim)]
        if len(varying) > sum(varies(before, dim) for dim in range(before.dim())):
            # Channels are laid out in rows: the rows stay, and lose the same places.
            numbering.tie_across(after[0], varying[-1])
    elif call.name == "chunk":
        # Halves are halves of whatever is left, so they have to lose the same.
        for each in after[1:]:
            if each.shape == after[0].shape:
                numbering.coupling.tie(after[0], each)
    return after


def _moved(numbering: Numbering, call: Call, data: int) -> tuple[Labels, ...] | None:
    """What a call gives on numbers.

    Args:
        data: how many of the tensors that it takes are moved; the others are indices.
    """

    def on(stand_in: int) -> tuple[Tensor, ...]:
        places = count()

        def change(tensor: Tensor) -> Tensor:
            if next(places) >= data:
                if not tensor.is_meta:
                    return tensor.cpu()
                return torch.full(tensor.shape, stand_in, dtype=tensor.dtype)
            # Of whatever type: the values of an integer tensor are no numbers of positions.
            labels = numbering[tensor]
            return torch.zeros(tensor.shape, dtype=torch.float64) if labels is None else labels

        return call.on(change)

    after = on(0)
    if any(tensor.is_meta for tensor in call.taken[data:]):
        # Indices without values: right where it doesn't matter which ones they are.
        for mine, theirs in zip(after, on(-1), strict=True):
            if not torch.equal(mine, theirs):
                return None
    return after


def _pad(numbering: Numbering, call: Call) -> Given:
    """A border belongs to the channel that it lies around; one of other channels is nobody's."""
    labels = numbering[call.argument(0, "input")]
    if labels is None:
        return [None]
    widths = [int(width) for width in call.argument(1, "pad")]
    for number in range(len(widths) // 2):
        before, after = widths[2 * number : 2 * number + 2]
        dim = labels.dim() - 1 - number
        line = single(labels, dim)
        if line is not None:
            sizes = list(labels.shape)
            sizes[dim] += before + after
            labels = line.expand(sizes)
        elif (call.argument(2, "mode") or "constant") == "constant":
            labels = functional.pad(labels, [0, 0] * number + [before, after])
        elif before or after:
            return None
    return [labels]


def _gather(numbering: Numbering, call: Call) -> Given:
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
    parts = [] if (numbers := numbering[index]) is None else [numbers]
    labels = numbering[inputs]
    if labels is not None:
        line = single(labels, dim)
        if line is None:
            return None
        for other, size in enumerate(call.given[0].shape):
            line = line.narrow(other, 0, min(size, line.shape[other]))
        parts.append(line)
    return [numbering.meet(parts, call.given[0].shape, call.place)]


def _fold(numbering: Numbering, call: Call) -> Given:
    """Patches put together again: (N, C * places, L) to (N, C, height, width)."""
    labels, output = numbering[call.argument(0, "input")], call.given[0]
    if labels is None:
        return [None]
    line = single(labels, -1)
    if line is None:
        return None
    rows = line.reshape(*line.shape[:-2], output.shape[-3], -1)
    channels = rows.amax(-1, keepdim=True)
    numbering.coupling.tie(channels, rows)
    return [channels.unsqueeze(-1).expand(output.shape)]


def _glu(numbering: Numbering, call: Call) -> Given:
    """One half gates the other one, so they have to lose the same."""
    labels, dim = numbering[call.argument(0, "input")], call.argument(1, "dim")
    if labels is None:
        return [None]
    first, second = labels.chunk(2, -1 if dim is None else dim)
    return [numbering.meet([first, second], call.given[0].shape, call.place)]


def _as_complex(numbering: Numbering, call: Call) -> Given:
    """The real and the imaginary part of a number lie along the last dimension."""
    labels = numbering[call.taken[0]]
    if labels is None:
        return [None]
    numbering.coupling.tie(labels[..., 0], labels[..., 1])
    return [labels[..., 0]]


def _as_real(numbering: Numbering, call: Call) -> Given:
    labels = numbering[call.taken[0]]
    return [None if labels is None else labels.unsqueeze(-1).expand(call.given[0].shape)]


RULES = {
    **dict.fromkeys(_MOVE, _move),
    **dict.fromkeys(("gather", "take_along_dim"), _gather),
    "pad": _pad,
    "fold": _fold,
    "glu": _glu,
    "view_as_complex": _as_complex,
    "view_as_real": _as_real,
}
