"""What torch's functions do with channels: for each call, the channel ids of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from accaware.pytorch.channels.tracing import movement, norms, products
from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.channel_table import ChannelTable
from accaware.pytorch.channels.tracing.coupling import ChannelIds, OutputIds, single
from accaware.pytorch.channels.tracing.layers import recurrent
from accaware.pytorch.channels.tracing.layers.computed_weights import follow_weight
from accaware.pytorch.channels.tracing.numbers import follow_numbers
from accaware.pytorch.channels.tracing.weights.parts import COPIES

CONVOLVE = frozenset(f"conv{each}{n}d" for each in ("", "_transpose") for n in (1, 2, 3))
_REDUCE = (
    "mean", "sum", "amax", "amin", "logsumexp", "norm", "std", "var", "nanmean", "prod", "any",
    "all",
)  # fmt: skip
_PICK = ("max", "min", "median", "argmax", "argmin", "var_mean", "std_mean")
_CREATE = (
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_empty", "new_full", "new_tensor",
)  # fmt: skip
_CONVERT = ("to", "type_as")
_MIX = (
    "tensordot", "bilinear", "addbmm", "ps_roi_align", "ps_roi_pool",
)  # fmt: skip
_SAMPLE = ("grid_sample", "roi_align", "roi_pool")
_UNPOOL = ("max_unpool1d", "max_unpool2d", "max_unpool3d")

_ALONG: dict[str, tuple[int, int | tuple[int, ...] | None]] = {
    **dict.fromkeys(
        ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "softmax", "log_softmax",
         "softmin"), (1, None),
    ),
    **dict.fromkeys(("sort", "argsort"), (1, -1)),
    "topk": (2, -1),
    "kthvalue": (2, -1),
    "diff": (2, -1),
    **dict.fromkeys(
        ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft"), (2, -1)
    ),
    **dict.fromkeys(
        ("fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_hfft2", "fft_ihfft2"),
        (2, (-2, -1)),
    ),
}  # fmt: skip
"""What mixes all that lies along some dimensions -> the place of that argument, and its default."""


def apply(table: ChannelTable, call: Call) -> None:
    """Give ids to a call's outputs, or tell which part of a weight they are."""
    if not table.parts.move(call):
        by_element(table, call)
    elif call.name not in COPIES:
        table.bind(call.inputs[1:], f"{call.place} uses it as an index ({call.name})")


def by_element(table: ChannelTable, call: Call) -> None:
    """Give ids to a call's outputs, and tie or bind its inputs'."""
    rule = _RULES.get(call.name, _unlisted)
    with table.multiplied() as weights:
        ids = rule(table, call)
    if ids is None:
        table.bind(call.inputs, _mixes(call))
        ids = [None] * len(call.outputs)
    follow_weight(table, call, weights, element_by_element=rule is _unlisted and ids is not None)
    for tensor, each in zip(call.outputs, ids, strict=True):
        table[tensor] = each
    follow_numbers(table, call)


def _mixes(call: Call) -> str:
    return f"{call.place} mixes channels ({call.name})"


def _convolution(table: ChannelTable, call: Call) -> OutputIds:
    inputs, weight = call.argument(0, "input"), call.argument(1, "weight")
    axis = inputs.dim() - weight.dim() + 1
    transposed = "transpose" in call.name
    groups = (call.outputs[0] if transposed else inputs).shape[axis] // weight.shape[1]
    if groups > 1:
        return _grouped_convolution(table, call, axis, groups)
    return _new_channels(table, call, axis, makes=1 if transposed else 0)


def _deformed_convolution(table: ChannelTable, call: Call) -> OutputIds:
    """A convolution that is told where to read."""
    inputs, weight, offset, mask, bias = call.args[:5]
    table.bind((offset, mask), f"{call.place} looks for places by it ({call.name})")
    return _convolution(table, replace(call, args=(inputs, weight, bias), kwargs={}))


def _linear(table: ChannelTable, call: Call) -> OutputIds:
    return _new_channels(table, call, call.outputs[0].dim() - 1, makes=0)


def _new_channels(table: ChannelTable, call: Call, axis: int, *, makes: int) -> OutputIds:
    """The weight's one dimension reads the old channels, the other one makes the new ones."""
    weight = _weight(table, call, (0, 1), makes)
    if weight is None:
        return None
    read = table.along(call.argument(0, "input"), axis)
    if read is not None and 1 - makes in weight:
        table.coupling.tie(read, weight[1 - makes])
    return [_made(table, call, weight[makes], axis)]


def _grouped_convolution(table: ChannelTable, call: Call, axis: int, groups: int) -> OutputIds:
    """Whole groups go: what one reads, with what it makes."""
    weight = _weight(table, call, (0,), 0)
    if weight is None:
        return None
    rows = weight[0].reshape(groups, -1)
    leaders = rows[:, :1]
    table.coupling.tie(leaders, rows)
    read = table.along(call.argument(0, "input"), axis)
    if read is None or not (read > 0).all():
        table.coupling.bind(rows, f"{call.place} reads something that has to stay")
    if read is not None:
        table.coupling.tie(leaders, read.reshape(groups, -1))
    outputs = call.outputs[0].shape[axis]
    made = leaders.expand(groups, outputs // groups).flatten()
    return [_made(table, call, made, axis)]


def _weight(
    table: ChannelTable, call: Call, dims: Sequence[int], makes: int
) -> Mapping[int, ChannelIds] | None:
    """The ids of the weight that a layer uses; where it has none, its input has to stay."""
    tensor = call.argument(1, "weight")
    weight = table.layer_weight(tensor, dims, makes, grouped=len(dims) == 1)
    if weight is None or any(dim not in weight for dim in dims):
        reason = table.why_unknown(call.module, tensor)
        if reason is not None:
            # The first reason is the one that is reported.
            table.bind(call.inputs[:1], f"{call.place} reads them, and {reason}")
    return weight


def _made(table: ChannelTable, call: Call, made: ChannelIds, axis: int) -> ChannelIds:
    """New channels laid out along an axis of the output, the bias tied to them."""
    bias = call.argument(2, "bias")
    if bias is not None and (ids := table[bias]) is not None:
        table.coupling.tie(ids, made)
    output = call.outputs[0]
    return made.reshape([-1 if dim == axis else 1 for dim in range(output.dim())]).expand_as(output)


def _embedding(table: ChannelTable, call: Call) -> OutputIds:
    table.bind(call.inputs[:1], f"{call.place} looks something up by it")
    bag = call.name == "embedding_bag"
    if bag:
        table.bind(call.inputs[2:], f"{call.place} weighs what it looks up by it")
    weight = table.layer_weight(call.argument(1, "weight"), (1,), 1)
    if call.argument(3, "max_norm") is not None:
        table.bind(
            [call.argument(1, "weight")],
            f"{call.place} makes long rows shorter by their norm (max_norm)",
        )
    return None if weight is None else [weight[1].expand(call.outputs[0].shape)]


def _mix(table: ChannelTable, call: Call) -> OutputIds:
    return None


def _multi_head(table: ChannelTable, call: Call) -> OutputIds:
    """PyTorch's own: its heads are as wide together as what it reads, so that none can go."""
    reason = f"{call.place} is as wide as what it reads (embed_dim), so that no head can go"
    table.bind(call.inputs, reason)
    return [None] * len(call.outputs)


def _create(table: ChannelTable, call: Call) -> OutputIds:
    return [None]


def _convert(table: ChannelTable, call: Call) -> OutputIds:
    return [table[call.inputs[0]]]


def _along(table: ChannelTable, call: Call) -> OutputIds:
    """Nothing is mixed where only positions lie along these dimensions, or rows as wholes."""
    ids = table[call.inputs[0]]
    if ids is None or len(call.inputs) > 1:
        return _unlisted(table, call)
    position, default = _ALONG[call.name]
    asked = call.dims(position)
    dims = default if asked is None else asked
    if dims is None:
        return None
    for dim in (dims,) if isinstance(dims, int) else dims:
        line = table.coupling.line(ids, dim, _mixes(call))
        if line is None:
            return None
        ids = line.expand(ids.shape)
    return _resized(call, ids)


def _reduction(table: ChannelTable, call: Call) -> OutputIds:
    """Over what has one id it has that id.

    A sum over channels doesn't miss those that were zero, so it binds none.
    """
    ids = table[call.inputs[0]]
    if ids is None:
        return [None] * len(call.outputs)
    reduced = _reduced(table, call, call.dims(2 if call.name == "norm" else 1))
    if reduced is None and call.outputs[0].dim() == call.inputs[0].dim():
        return _unlisted(table, call)
    if reduced is None and table.computed_for(call.inputs[0]) is not None:
        return None
    if reduced is None:
        table.coupling.sum(ids)
    return [reduced] * len(call.outputs)


def _normalize(table: ChannelTable, call: Call) -> OutputIds:
    """A division by the norm along a dimension, which is a sum."""
    ids, dim = table[call.inputs[0]], call.argument(2, "dim")
    if ids is None:
        return [None]
    line = table.coupling.line(ids, 1 if dim is None else dim, _mixes(call))
    if line is None and table.computed_for(call.inputs[0]) is not None:
        return None
    if line is None:
        table.coupling.sum(ids)
    return [ids if line is None else line.expand(ids.shape)]


def _pick(table: ChannelTable, call: Call) -> OutputIds:
    """As a reduction, but for channels: of these another one would be picked."""
    if len(call.inputs) > 1 or table[call.inputs[0]] is None:
        return _unlisted(table, call)
    reduced = _reduced(table, call, call.dims(1))
    if reduced is None and call.outputs[0].dim() == call.inputs[0].dim():
        return _unlisted(table, call)
    return None if reduced is None else [reduced] * len(call.outputs)


def _reduced(table: ChannelTable, call: Call, dims: object) -> ChannelIds | None:
    """The ids without some dimensions; None where there were several channels along one."""
    ids = table[call.inputs[0]]
    if ids is None or dims is None or isinstance(dims, bool):
        return None
    everything = [dims] if isinstance(dims, int) else list(dims)  # type: ignore[call-overload]
    for dim in everything:
        line = table.coupling.line(ids, dim, _mixes(call))
        if line is None:
            return None
        ids = line
    if call.outputs[0].dim() == ids.dim():  # keepdim
        return ids
    for dim in sorted((dim % ids.dim() for dim in everything), reverse=True):
        ids = ids.squeeze(dim)
    return ids


def _unlisted(table: ChannelTable, call: Call) -> OutputIds:
    """Told by its shapes: element by element, or channel by channel, or not to be traced."""
    shape = call.outputs[0].shape
    if _common_shape(call.inputs) == shape and all(each.shape == shape for each in call.outputs):
        parts = [ids for tensor in call.inputs if (ids := table[tensor]) is not None]
        return [table.meetings.of(parts, shape, call.place)] * len(call.outputs)
    return None if len(call.inputs) > 1 else _resized(call, table[call.inputs[0]])


def _sample(table: ChannelTable, call: Call) -> OutputIds:
    """What is read at some places has the channels of what it is read from."""
    table.bind(call.inputs[1:], f"{call.place} looks for places by it ({call.name})")
    return _resized(call, table[call.inputs[0]])


def _unpool(table: ChannelTable, call: Call) -> OutputIds:
    """What a pooling gave, put back to where its indices say."""
    inputs, indices = call.inputs[:2]
    parts = [ids for tensor in (inputs, indices) if (ids := table[tensor]) is not None]
    table.meetings.of(parts, inputs.shape, call.place)
    return _resized(call, table[inputs])


def _resized(call: Call, ids: ChannelIds | None) -> OutputIds:
    """Pooling and interpolation: channels stay, other dimensions get other sizes."""
    inputs = call.inputs[0]
    if any(output.dim() != inputs.dim() for output in call.outputs):
        return None
    if ids is None:
        return [None] * len(call.outputs)
    for dim, size in enumerate(inputs.shape):
        if any(output.shape[dim] != size for output in call.outputs):
            line = single(ids, dim)
            if line is None:
                return None
            ids = line
    return [ids.expand(output.shape) for output in call.outputs]


def _common_shape(tensors: Sequence[Tensor]) -> torch.Size | None:
    """Of what meets element by element; None if it can't."""
    try:
        shapes = (tensor.shape for tensor in tensors)
        return torch.Size(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


_Rule = Callable[[ChannelTable, Call], OutputIds]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(CONVOLVE, _convolution),
    **dict.fromkeys(_MIX, _mix),
    "deform_conv2d": _deformed_convolution,
    "multi_head_attention_forward": _multi_head,
    **dict.fromkeys(_CREATE, _create),
    **dict.fromkeys(_CONVERT, _convert),
    **dict.fromkeys(_REDUCE, _reduction),
    **dict.fromkeys(_PICK, _pick),
    **dict.fromkeys(_SAMPLE, _sample),
    **dict.fromkeys(_UNPOOL, _unpool),
    **dict.fromkeys(_ALONG, _along),
    **movement.RULES,
    **norms.RULES,
    **products.RULES,
    **recurrent.RULES,
    "linear": _linear,
    **dict.fromkeys(("embedding", "embedding_bag"), _embedding),
    "normalize": _normalize,
}
