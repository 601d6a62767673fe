"""What torch's functions do with channels: for each call, the numbers of what it gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from accaware.pytorch.channels.tracing import movement, norms, products
from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import Labels, single
from accaware.pytorch.channels.tracing.numbering import Numbering, Weight

Given = Sequence[Labels | None] | None
"""For each tensor that a call gave its numbers, or none; None for a call that can't be followed."""

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
    "tensordot", "bilinear", "multi_head_attention_forward", "addbmm", "ps_roi_align",
    "ps_roi_pool",
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
    weight = _weight(numbering, call, (0, 1), makes)
    if weight is None:
        return None
    read = numbering.along(call.argument(0, "input"), axis)
    if read is not None:
        numbering.coupling.tie(read, weight.dims[1 - makes])
    return [_made(numbering, call, weight.dims[makes], axis)]


def _grouped_convolution(numbering: Numbering, call: Call, axis: int, groups: int) -> Given:
    """Whole groups go: what one reads, with what it makes."""
    weight = _weight(numbering, call, (0,), 0)
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


def _weight(numbering: Numbering, call: Call, dims: Sequence[int], makes: int) -> Weight | None:
    """The numbers of the weight that a layer uses; where it has none, its input has to stay."""
    tensor = call.argument(1, "weight")
    weight = numbering.layer_weight(tensor, dims, makes)
    if weight is None and (reason := numbering.why_unknown(call.module, tensor)) is not None:
        # The first reason is the one that is told.
        numbering.bind(call.taken[:1], f"{call.place} reads them, and {reason}")
    return weight


def _made(numbering: Numbering, call: Call, made: Labels, axis: int) -> Labels:
    """New channels laid out along an axis of the output, the bias tied to them."""
    bias = call.argument(2, "bias")
    if bias is not None and (numbers := numbering[bias]) is not None:
        numbering.coupling.tie(numbers, made)
    output = call.given[0]
    return made.reshape([-1 if dim == axis else 1 for dim in range(output.dim())]).expand_as(output)


def _embedding(numbering: Numbering, call: Call) -> Given:
    numbering.bind(call.taken[:1], f"{call.place} looks something up by it")
    weight = numbering.layer_weight(call.argument(1, "weight"), (1,), 1)
    return None if weight is None else [weight.dims[1].expand(call.given[0].shape)]


def _mix(numbering: Numbering, call: Call) -> Given:
    return None


def _create(numbering: Numbering, call: Call) -> Given:
    return [None]


def _convert(numbering: Numbering, call: Call) -> Given:
    return [numbering[call.taken[0]]]


def _along(numbering: Numbering, call: Call) -> Given:
    """Nothing is mixed where only positions lie along these dimensions."""
    labels = numbering[call.taken[0]]
    if labels is not None:
        position, default = _ALONG[call.name]
        asked = call.dims(position)
        dims = default if asked is None else asked
        if dims is None:
            return None
        for dim in (dims,) if isinstance(dims, int) else dims:
            if single(labels, dim) is None:
                return None
    return _unlisted(numbering, call)


def _reduction(numbering: Numbering, call: Call) -> Given:
    """Over what has one number it has that number.

    A sum over channels doesn't miss those that were zero, so it binds none.
    """
    if call.given[0].dim() == call.taken[0].dim():
        return _unlisted(numbering, call)
    reduced = _reduced(numbering, call, call.dims(2 if call.name == "norm" else 1))
    labels = numbering[call.taken[0]]
    if reduced is None and labels is not None:
        numbering.coupling.sum(labels)
    return [reduced] * len(call.given)


def _normalize(numbering: Numbering, call: Call) -> Given:
    """A division by the norm along a dimension, which is a sum."""
    labels, dim = numbering[call.taken[0]], call.argument(2, "dim")
    if labels is not None and single(labels, 1 if dim is None else dim) is None:
        numbering.coupling.sum(labels)
    return _unlisted(numbering, call)


def _pick(numbering: Numbering, call: Call) -> Given:
    """As a reduction, but for channels: of these another one would be picked."""
    if len(call.taken) > 1 or call.given[0].dim() == call.taken[0].dim():
        return _unlisted(numbering, call)
    reduced = _reduced(numbering, call, call.dims(1))
    return None if reduced is None else [reduced] * len(call.given)


def _reduced(numbering: Numbering, call: Call, dims: object) -> Labels | None:
    """The numbers without some dimensions; None where there were several along one."""
    labels = numbering[call.taken[0]]
    if labels is None or dims is None or isinstance(dims, bool):
        return None
    everything = [dims] if isinstance(dims, int) else list(dims)  # type: ignore[call-overload]
    for dim in everything:
        line = single(labels, dim)
        if line is None:
            return None
        labels = line
    for dim in sorted((dim % labels.dim() for dim in everything), reverse=True):
        labels = labels.squeeze(dim)
    return labels


def _unlisted(numbering: Numbering, call: Call) -> Given:
    """Told by its shapes: element by element, or channel by channel, or not to be followed."""
    shape = call.given[0].shape
    if _common_shape(call.taken) == shape and all(each.shape == shape for each in call.given):
        parts = [labels for tensor in call.taken if (labels := numbering[tensor]) is not None]
        return [numbering.meet(parts, shape, call.place)] * len(call.given)
    return None if len(call.taken) > 1 else _resized(numbering, call)


def _sample(numbering: Numbering, call: Call) -> Given:
    """What is read at given places has the channels of what it is read from."""
    numbering.bind(call.taken[1:], f"{call.place} looks for places by it ({call.name})")
    return _resized(numbering, call)


def _unpool(numbering: Numbering, call: Call) -> Given:
    """What a pooling gave, put back to where its indices say."""
    inputs, indices = call.taken[:2]
    parts = [labels for tensor in (inputs, indices) if (labels := numbering[tensor]) is not None]
    numbering.meet(parts, inputs.shape, call.place)
    return _resized(numbering, call)


def _resized(numbering: Numbering, call: Call) -> Given:
    """Pooling and interpolation: channels stay, other dimensions get other sizes."""
    inputs = call.taken[0]
    labels = numbering[inputs]
    if any(output.dim() != inputs.dim() for output in call.given):
        return None
    if labels is None:
        return [None] * len(call.given)
    for dim, size in enumerate(inputs.shape):
        if any(output.shape[dim] != size for output in call.given):
            line = single(labels, dim)
            if line is None:
                return None
            labels = line
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
    **dict.fromkeys(_MIX, _mix),
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
    "linear": _linear,
    "embedding": _embedding,
    "normalize": _normalize,
}
