"""What torch's functions do with channels: for each call, the numbers of what it gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from accaware.pytorch.following.call import Call
from accaware.pytorch.following.coupling import Labels, thin, varies
from accaware.pytorch.following.numbering import Numbering

Given = Sequence[Labels | None] | None
"""For each tensor that a call gave its numbers, or none; None for a call that can't be followed."""

CONVOLVE = frozenset(f"conv{each}{n}d" for each in ("", "_transpose") for n in (1, 2, 3))
_SPLIT = frozenset(("reshape", "view", "unflatten", "view_as", "reshape_as"))
_MOVE = _SPLIT | {
    "__getitem__", "__get__", "broadcast_to", "cat", "channel_shuffle", "chunk", "clone",
    "concat", "concatenate", "contiguous", "expand", "expand_as", "flatten", "flip", "hstack",
    "index_select", "moveaxis", "movedim", "narrow", "pad", "permute", "pixel_shuffle",
    "pixel_unshuffle", "repeat", "repeat_interleave", "roll", "select", "split",
    "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t", "tensor_split", "tile",
    "transpose", "unbind", "unfold", "unsqueeze", "vstack",
}  # fmt: skip
_REDUCE = ("mean", "sum", "amax", "amin", "logsumexp", "norm", "std", "var", "nanmean", "prod")
_CREATE = (
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_empty", "new_full", "new_tensor",
)  # fmt: skip
_CONVERT = ("to", "type_as")
_MIX = (
    "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm", "addmm", "addbmm", "einsum",
    "tensordot", "bilinear", "multi_head_attention_forward", "scaled_dot_product_attention",
)  # fmt: skip


def apply(numbering: Numbering, call: Call) -> None:
    """Number what a call gave, and tie or bind what it took."""
    rule = _RULES.get(call.name, _unlisted)
    labels = rule(numbering, call)
    if labels is None:
        numbering.bind(call.taken, f"{call.place} mixes channels ({call.name})")
        labels = [None] * len(call.given)
    for tensor, each in zip(call.given, labels, strict=True):
        numbering[tensor] = each


def _convolution(numbering: Numbering, call: Call) -> Given:
    inputs, weight = call.argument(0, "input"), call.argument(1, "weight")
    axis = inputs.dim() - weight.dim() + 1
    transposed = "transpose" in call.name
    groups = (call.given[0] if transposed else inputs).shape[axis] // weight.shape[1]
    if groups > 1:
        return _grouped_convolution(numbering, call, axis, groups)
    return _new_channels(numbering, call, axis, makes=1 if transposed else 0)


def _linear(numbering: Numbering, call: Call) -> Given:
    return _new_channels(numbering, call, call.given[0].dim() - 1, makes=0)


def _new_channels(numbering: Numbering, call: Call, axis: int, *, makes: int) -> Given:
    """The weight's one dimension reads the old channels, the other one makes the new ones."""
    weight = numbering.layer_weight(call.argument(1, "weight"), (0, 1), makes)
    if weight is None:
        return None
    read = numbering.along(call.argument(0, "input"), axis)
    if read is not None:
        numbering.coupling.tie(read, weight.dims[1 - makes])
    return [_made(numbering, call, weight.dims[makes], axis)]


def _grouped_convolution(numbering: Numbering, call: Call, axis: int, groups: int) -> Given:
    """Whole groups go: what one reads, with what it makes."""
    weight = numbering.layer_weight(call.argument(1, "weight"), (0,), 0)
    if weight is None:
        return None
    rows = weight.dims[0].reshape(groups, -1)
    leaders = rows[:, :1]
    numbering.coupling.tie(leaders, rows)
    read = numbering.along(call.argument(0, "input"), axis)
    if read is None or not (read > 0).all():
        numbering.coupling.bind(rows, f"{call.place} reads something that has to stay")
    if read is not None:
        numbering.coupling.tie(leaders, read.reshape(groups, -1))
    outputs = call.given[0].shape[axis]
    made = leaders.expand(groups, outputs // groups).flatten()
    return [_made(numbering, call, made, axis)]


def _made(numbering: Numbering, call: Call, made: Labels, axis: int) -> Labels:
    """New channels laid out along an axis of the output, the bias tied to them."""
    bias = call.argument(2, "bias")
    if bias is not None and (numbers := numbering[bias]) is not None:
        numbering.coupling.tie(numbers, made)
    output = call.given[0]
    return made.reshape([-1 if dim == axis else 1 for dim in range(output.dim())]).expand_as(output)


def _embedding(numbering: Numbering, call: Call) -> Given:
    weight = numbering.layer_weight(call.argument(1, "weight"), (1,), 1)
    return None if weight is None else [weight.dims[1].expand(call.given[0].shape)]


def _channelwise(numbering: Numbering, call: Call) -> Given:
    """Batch norm and its like, PReLU: vectors with a number for each channel."""
    inputs, *vectors = call.taken
    if call.name == "instance_norm" and not vectors:
        numbering.bind([inputs], f"{call.place} has no tensor that could be made smaller")
    channels = numbering.along(inputs, min(1, inputs.dim() - 1))
    for vector in vectors:
        if channels is not None and (numbers := numbering[vector]) is not None:
            numbering.coupling.tie(numbers, channels)
    return [numbering[inputs]]


def _normalisation(numbering: Numbering, call: Call) -> Given:
    numbering.bind(call.taken[:1], f"{call.place} normalises each channel by its neighbours")
    return [None]


def _mix(numbering: Numbering, call: Call) -> Given:
    return None


def _create(numbering: Numbering, call: Call) -> Given:
    return [None]


def _convert(numbering: Numbering, call: Call) -> Given:
    return [numbering[call.taken[0]]]


def _move(numbering: Numbering, call: Call) -> Given:
    """The same is done to the numbers."""
    before = [numbering[tensor] for tensor in call.taken]
    if all(labels is None for labels in before):
        return [None] * len(call.given)
    if any(tensor.is_meta and not tensor.is_floating_point() for tensor in call.taken):
        return None  # indices without values

    def numbers(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.cpu()
        labels = numbering[tensor]
        return torch.zeros(tensor.shape, dtype=torch.float64) if labels is None else labels

    try:
        after = call.on(numbers)
    except Exception:  # noqa: BLE001 - what can't be done to numbers isn't followed
        return None
    if call.name in _SPLIT and before[0] is not None:
        varying = [dim for dim in range(after[0].dim()) if varies(after[0], dim)]
        if len(varying) > sum(varies(before[0], dim) for dim in range(before[0].dim())):
            # Channels are laid out in rows: the rows stay, and lose the same places.
            numbering.tie_across(after[0], varying[-1])
    elif call.name == "chunk":
        # Halves are halves of whatever is left, so they have to lose the same.
        for each in after[1:]:
            if each.shape == after[0].shape:
                numbering.coupling.tie(after[0], each)
    return after


def _reduction(numbering: Numbering, call: Call) -> Given:
    """Over what has one number it has that number.

    A sum over channels doesn't miss those that were zero, so it binds none.
    """
    labels = numbering[call.taken[0]]
    dims = call.argument(2 if call.name == "norm" else 1, "dim")
    if call.given[0].dim() == call.taken[0].dim():
        return _unlisted(numbering, call)
    if labels is None or dims is None:
        return [None] * len(call.given)
    highest, lowest = labels.amax(dims), labels.amin(dims)
    return [highest if torch.equal(highest, lowest) else None]


def _unlisted(numbering: Numbering, call: Call) -> Given:
    """Told by its shapes: element by element, or channel by channel, or not to be followed."""
    shape = call.given[0].shape
    if _common_shape(call.taken) == shape and all(each.shape == shape for each in call.given):
        return [_meeting(numbering, call, shape)] * len(call.given)
    return _resized(numbering, call)


def _meeting(numbering: Numbering, call: Call, shape: torch.Size) -> Labels | None:
    """Elements that meet are tied."""
    parts = [labels for tensor in call.taken if (labels := numbering[tensor]) is not None]
    parts = [part.reshape([1] * (len(shape) - part.dim()) + list(part.shape)) for part in parts]
    result: Labels | None = None
    for number, part in enumerate(parts):
        others = [*parts[:number], *parts[number + 1 :]]
        if any(
            part.shape[dim] == 1 < size and varies(other, dim)
            for dim, size in enumerate(shape)
            for other in others
        ):
            numbering.coupling.bind(part, f"{call.place} spreads it over other channels")
        elif result is None:
            result = part.expand(shape)
        else:
            numbering.coupling.tie(result, part)
            if not (thin(result) > 0).all():
                result = torch.where(result > 0, result, part)
    return result


def _resized(numbering: Numbering, call: Call) -> Given:
    """Pooling and interpolation: channels stay, other dimensions get other sizes."""
    inputs, *others = call.taken
    labels = numbering[inputs]
    if others or any(output.dim() != inputs.dim() for output in call.given):
        return None
    if labels is None:
        return [None] * len(call.given)
    for dim, size in enumerate(inputs.shape):
        if any(output.shape[dim] != size for output in call.given):
            if varies(labels, dim):
                return None
            labels = labels.narrow(dim, 0, 1)
    return [labels.expand(output.shape) for output in call.given]


def _common_shape(tensors: Sequence[Tensor]) -> torch.Size | None:
    """Of what meets element by element; None if it can't."""
    try:
        shapes = (tensor.shape for tensor in tensors)
        return torch.Size(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


_Rule = Callable[[Numbering, Call], Given]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(CONVOLVE, _convolution),
    **dict.fromkeys(("batch_norm", "instance_norm", "prelu"), _channelwise),
    **dict.fromkeys(("layer_norm", "group_norm", "rms_norm"), _normalisation),
    **dict.fromkeys(_MIX, _mix),
    **dict.fromkeys(_CREATE, _create),
    **dict.fromkeys(_CONVERT, _convert),
    **dict.fromkeys(_MOVE, _move),
    **dict.fromkeys(_REDUCE, _reduction),
    "linear": _linear,
    "embedding": _embedding,
}
