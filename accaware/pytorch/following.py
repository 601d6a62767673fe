"""Channels followed through one forward pass, from the layers that make them to their readers.

Every position along a layer's filters gets a number, and the numbers travel with the tensors:
whatever moves elements about (a reshape, a concatenation, a window partition) is done to the
numbers as well, by the very same function. What combines elements ties the numbers that meet;
what mixes channels binds them to stay. So nothing has to be known of how a model is written, and
what is missing here costs channels, never rightness: accaware.pytorch.verification tries all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.copies import copy_without_values
from accaware.pytorch.coupling import Coupling, Labels, thin, varies
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.layers import CONVOLUTIONS, TRANSPOSED
from accaware.pytorch.modes import set_structural_mode

PRODUCERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)

_CONVOLVE = {f"conv{each}{n}d" for each in ("", "_transpose") for n in (1, 2, 3)}
_SCALE = {"batch_norm", "instance_norm", "prelu"}
_NORMALISE = {"layer_norm", "group_norm", "rms_norm"}
_SPLIT = {"reshape", "view", "unflatten", "view_as", "reshape_as"}
_MOVE = _SPLIT | {
    "__getitem__", "__get__", "broadcast_to", "cat", "channel_shuffle", "chunk", "clone",
    "concat", "concatenate", "contiguous", "expand", "expand_as", "flatten", "flip", "hstack",
    "index_select", "movedim", "moveaxis", "narrow", "pad", "permute", "pixel_shuffle",
    "pixel_unshuffle", "repeat", "repeat_interleave", "roll", "select", "split",
    "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t", "tensor_split", "tile",
    "transpose", "unbind", "unfold", "unsqueeze", "vstack",
}  # fmt: skip
_REDUCE = {"mean", "sum", "amax", "amin", "logsumexp", "norm", "std", "var", "nanmean", "prod"}
_MIX = {
    "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm", "addmm", "addbmm", "einsum",
    "tensordot", "bilinear", "multi_head_attention_forward", "scaled_dot_product_attention",
}  # fmt: skip


@dataclass
class Weight:
    """A layer's weight: the numbers of its positions.

    Attributes:
        dims: dimension -> (size,) numbers along it.
        makes: the dimension that numbers the filters.
        grouped: whether the filters go in the groups of a grouped convolution.
    """

    dims: dict[int, Labels]
    makes: int
    grouped: bool = False


@dataclass
class Followed:
    """What one forward pass showed.

    Attributes:
        weights: of convolutions, linear layers and embeddings, by name.
        vectors: all other parameters and buffers that meet channels: a number each element.
        opaque: parameters that go into what can't be followed -> why.
        first_convolutions: names of convolutions that read what no other one made.
    """

    coupling: Coupling = field(default_factory=Coupling)
    weights: dict[str, Weight] = field(default_factory=dict)
    vectors: dict[str, Labels] = field(default_factory=dict)
    opaque: dict[str, str] = field(default_factory=dict)
    first_convolutions: set[str] = field(default_factory=set)


def follow(model: nn.Module, inputs: ExampleInputs) -> Followed:
    """Run the model once, on tensors without values where it can do that.

    Auxiliary heads, which run in training only, are followed too.

    Args:
        model: it is copied, not touched.

    Raises:
        Exception: whatever the model's forward raises.
    """
    with suppress(Exception):  # a forward that reads values; then it gets some
        return _run(copy_without_values(model), inputs.on(torch.device("meta")))
    copied = copy.deepcopy(model)
    with suppress(Exception):  # some models train on other inputs than they evaluate
        return _run(copied, inputs)
    return _run(copied.eval(), inputs, structural=False)


def _run(model: nn.Module, inputs: ExampleInputs, structural: bool = True) -> Followed:
    if structural:
        set_structural_mode(model)
    follower = _Follower(model)
    handles = [
        handle for name, module in model.named_modules() for handle in follower.watch(name, module)
    ]
    try:
        with torch.no_grad(), follower:
            outputs = inputs.call(model)
    finally:
        for handle in handles:
            handle.remove()
    follower.finish(outputs)
    return follower.found


class _Follower(TorchFunctionMode):
    """Numbers the channels of all that happens while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found = Followed()
        self._coupling = self.found.coupling
        self._labels: Any = WeakIdKeyDictionary()
        self._convolved: Any = WeakIdKeyDictionary()
        self._open: list[tuple[str, nn.Module]] = []
        self._names: dict[int, str] = {}
        self._owners: dict[str, list[nn.Module]] = {}
        for prefix, module in model.named_modules():
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                name = self._names.setdefault(id(tensor), f"{prefix}.{key}" if prefix else key)
                self._owners.setdefault(name, []).append(module)

    def watch(self, name: str, module: nn.Module) -> Iterator[Any]:
        yield module.register_forward_pre_hook(lambda *_: self._open.append((name, module)))
        yield module.register_forward_hook(lambda *_: self._left())

    def _left(self) -> None:
        self._open.pop()

    def finish(self, outputs: Any) -> None:
        """The model's outputs keep their shapes; a weight has one use."""
        for output in _tensors(outputs):
            self._bind([output], "its channels are the model's output")
        for name, reason in self.found.opaque.items():
            if (labels := self.found.vectors.get(name)) is not None:
                self._coupling.bind(labels, reason)
        for name in self.found.weights.keys() & self.found.vectors.keys():
            reason = f"{name} is used in other ways as well"
            for labels in (self.found.vectors.pop(name), *self.found.weights[name].dims.values()):
                self._coupling.bind(labels, reason)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        call = _Call(func, args, kwargs or {})
        taken = call.tensors
        convolved = any(tensor in self._convolved for tensor in taken)
        outputs = func(*args, **call.kwargs)
        given = _tensors(outputs)
        if taken and given:
            self._follow(call, given)
            if convolved or call.name in _CONVOLVE:
                for tensor in given:
                    self._convolved[tensor] = True
        return outputs

    def _follow(self, call: _Call, given: Sequence[Tensor]) -> None:
        """Say what numbers the outputs of a call have."""
        labels: Sequence[Labels | None] | None = None
        if call.name in _CONVOLVE or call.name in ("linear", "embedding"):
            labels = self._layer(call, given[0])
        elif call.name in _SCALE:
            labels = self._scaled(call)
        elif call.name in _NORMALISE:
            self._bind(call.tensors[:1], f"{self._place()} normalises each channel by the others")
            labels = [None]
        elif call.name in _MIX:
            labels = None
        elif call.name in _MOVE:
            labels = self._moved(call, given)
        elif call.name in _REDUCE and call.tensors[0].dim() > given[0].dim():
            labels = self._reduced(call)
        else:
            labels = self._elementwise(call, given) or self._resized(call, given)
        if labels is None:
            self._opaque(call)
            labels = [None] * len(given)
        for tensor, each in zip(given, labels, strict=True):
            if each is not None:
                self._labels[tensor] = each
            else:
                self._labels.pop(tensor, None)

    def _of(self, tensor: Tensor) -> Labels | None:
        """The numbers of a tensor's elements; parameters and buffers get them when first met."""
        name = self._names.get(id(tensor))
        if name is None or not tensor.is_floating_point():
            labels: Labels | None = self._labels.get(tensor)
            return labels
        if tensor.numel() <= 1:
            return None
        if name not in self.found.vectors:
            self.found.vectors[name] = self._coupling.number(*tensor.shape)
        return self.found.vectors[name]

    def _bind(self, tensors: Sequence[Tensor], reason: str) -> None:
        for tensor in tensors:
            if id(tensor) in self._names:
                self.found.opaque.setdefault(self._names[id(tensor)], reason)
            elif (labels := self._of(tensor)) is not None:
                self._coupling.bind(labels, reason)

    def _place(self) -> str:
        if not self._open:
            return "the model"
        name, module = self._open[-1]
        return f"{name or 'the model'} ({type(module).__name__})"

    def _opaque(self, call: _Call) -> None:
        self._bind(call.tensors, f"{self._place()} mixes channels ({call.name})")

    def _along(self, labels: Labels | None, dim: int) -> Labels | None:
        """(size,) numbers along a dimension, what is alongside tied to them."""
        if labels is None:
            return None
        size = labels.shape[dim]
        rows = thin(labels).movedim(dim, 0)
        rows = rows.expand(size, *rows.shape[1:]).flatten(1)
        first: Labels = rows.amax(1)
        self._coupling.tie(first[:, None], rows)
        return first

    def _layer(self, call: _Call, output: Tensor) -> Sequence[Labels | None] | None:
        """A convolution, a linear layer, an embedding: new channels out of the old ones."""
        inputs, weight = call.argument(0, "input"), call.argument(1, "weight")
        bias = call.argument(2, "bias")
        name = self._names.get(id(weight), "")
        owners = self._owners.get(name, [])
        if not name.endswith("weight") or not isinstance(owners[0], (*PRODUCERS, nn.Embedding)):
            return None
        if call.name in _CONVOLVE and inputs not in self._convolved:
            self.found.first_convolutions.add(name.removesuffix(".weight"))
        entry = self.found.weights.get(name)
        if call.name == "embedding":
            if entry is None:
                entry = self.found.weights[name] = Weight({1: self._numbers(weight, 1)}, 1)
            return [entry.dims[1].expand(output.shape)]
        axis = inputs.dim() - weight.dim() + 1 if call.name in _CONVOLVE else inputs.dim() - 1
        read = self._along(self._of(inputs), axis)
        transposed = "transpose" in call.name
        made_axis = 1 if transposed else 0
        groups = (output if transposed else inputs).shape[axis] // weight.shape[1]
        if call.name not in _CONVOLVE:
            groups = 1
        if entry is None:
            if groups > 1:
                entry = Weight({0: self._numbers(weight, 0)}, 0, grouped=True)
            else:
                dims = {dim: self._numbers(weight, dim) for dim in (0, 1)}
                entry = Weight(dims, made_axis)
            self.found.weights[name] = entry
            if len(owners) > 1:
                for labels in entry.dims.values():
                    self._coupling.bind(labels, f"several layers share {name}")
        if groups > 1:
            made = self._grouped(entry.dims[0], read, groups, output.shape[axis])
        else:
            made = entry.dims[made_axis]
            if read is not None:
                self._coupling.tie(read, entry.dims[1 - made_axis])
        if bias is not None and (numbers := self._of(bias)) is not None:
            self._coupling.tie(numbers, made)
        shape = [1] * output.dim()
        shape[axis] = -1
        return [made.reshape(shape).expand(output.shape)]

    def _numbers(self, weight: Tensor, dim: int) -> Labels:
        return self._coupling.number(weight.shape[dim])

    def _grouped(self, rows: Labels, read: Labels | None, groups: int, outputs: int) -> Labels:
        """Whole groups of a grouped convolution: what one reads goes with what it makes."""
        groupwise = rows.reshape(groups, -1)
        leaders = groupwise[:, :1]
        self._coupling.tie(leaders, groupwise)
        if read is None or not (read > 0).all():
            self._coupling.bind(rows, f"{self._place()} reads something that has to stay")
        if read is not None:
            self._coupling.tie(leaders, read.reshape(groups, -1))
        return leaders.expand(groups, outputs // groups).flatten()

    def _scaled(self, call: _Call) -> Sequence[Labels | None]:
        """What has a number for each channel: batch norm and its like, PReLU."""
        inputs, *vectors = call.tensors
        labels = self._of(inputs)
        vectors = [vector for vector in vectors if vector.numel() > 1]
        if call.name == "instance_norm" and not vectors:
            reason = f"{self._place()} has no tensor that could be made smaller"
            self._bind([inputs], reason)
        channels = self._along(labels, min(1, inputs.dim() - 1))
        for vector in vectors:
            numbers = self._of(vector)
            if numbers is not None and channels is not None:
                self._coupling.tie(numbers, channels)
        return [labels]

    def _moved(self, call: _Call, given: Sequence[Tensor]) -> Sequence[Labels | None] | None:
        """The same done to the numbers."""
        before = [self._of(tensor) for tensor in call.tensors]
        if all(labels is None for labels in before):
            return [None] * len(given)
        try:
            moved = call.on(self._written_out)
        except Exception:  # noqa: BLE001 - an index without a value, say
            return None
        after = _tensors(moved)
        if call.name in _SPLIT:
            self._tie_split(before[0], after[0])
        elif call.name == "chunk":
            # Halves are halves of whatever is left, so they have to lose the same.
            for each in after[1:]:
                if each.shape == after[0].shape:
                    self._coupling.tie(after[0], each)
        return after

    def _written_out(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor if tensor.is_meta else tensor.cpu()
        labels = self._of(tensor)
        if labels is None:
            return torch.zeros((), dtype=torch.float64).expand(tensor.shape)
        return labels

    def _tie_split(self, before: Labels | None, after: Labels) -> None:
        """Where channels are laid out in rows, the rows stay and lose the same places."""
        if before is None:
            return
        varying = [dim for dim in range(after.dim()) if varies(after, dim)]
        if len(varying) > sum(varies(before, dim) for dim in range(before.dim())):
            self._along(after, varying[-1])

    def _reduced(self, call: _Call) -> Sequence[Labels | None]:
        """A mean or the like: over what has one number it has that number.

        A sum over channels doesn't miss those that were zero, so it binds none.
        """
        labels = self._of(call.tensors[0])
        dims = call.argument(2 if call.name == "norm" else 1, "dim")
        if labels is None or dims is None:
            return [None]
        highest, lowest = labels.amax(dims), labels.amin(dims)
        return [highest if torch.equal(highest, lowest) else None]

    def _elementwise(self, call: _Call, given: Sequence[Tensor]) -> list[Labels | None] | None:
        """Elements that meet are tied."""
        shape = given[0].shape
        if _broadcast(call.tensors) != shape or any(output.shape != shape for output in given):
            return None
        parts = [labels for tensor in call.tensors if (labels := self._of(tensor)) is not None]
        parts = [part.reshape([1] * (len(shape) - part.dim()) + list(part.shape)) for part in parts]
        # What one number spreads over many channels is none of them.
        spread = [part for part in parts if self._is_spread(part, parts, shape)]
        for part in spread:
            self._coupling.bind(part, f"{self._place()} spreads it over other channels")
        parts = [part.expand(shape) for part in parts if not any(part is each for each in spread)]
        if not parts:
            return [None] * len(given)
        result = parts[0]
        for part in parts[1:]:
            self._coupling.tie(result, part)
            if not (thin(result) > 0).all():
                result = torch.where(result > 0, result, part)
        return [result] * len(given)

    def _is_spread(self, part: Labels, parts: Sequence[Labels], shape: torch.Size) -> bool:
        return any(
            part.shape[dim] == 1 < size and varies(other, dim)
            for dim, size in enumerate(shape)
            for other in parts
            if other is not part
        )

    def _resized(self, call: _Call, given: Sequence[Tensor]) -> list[Labels | None] | None:
        """Pooling and interpolation: channels stay, other dimensions get other sizes."""
        inputs, *others = call.tensors
        labels = self._of(inputs)
        if labels is None:
            return None if others else [None] * len(given)
        if others or any(output.dim() != inputs.dim() for output in given):
            return None
        sizes = torch.tensor([list(output.shape) for output in given])
        changed = (sizes != torch.tensor(inputs.shape)).any(0).nonzero().flatten().tolist()
        if any(varies(labels, dim) for dim in changed):
            return None
        for dim in changed:
            labels = labels.narrow(dim, 0, 1)
        return [labels.expand(output.shape) for output in given]


@dataclass(frozen=True)
class _Call:
    """One call of a torch function."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        return getattr(self.func, "__name__", str(self.func))

    @property
    def tensors(self) -> list[Tensor]:
        """All among the arguments, in order."""
        return _tensors((self.args, dict(self.kwargs)))

    def argument(self, position: int, name: str) -> Any:
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name)

    def on(self, change: Callable[[Tensor], Tensor]) -> Any:
        """The same call on other tensors."""
        args, kwargs = pytree.tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return self.func(*args, **kwargs)


def _tensors(structure: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, Tensor)]


def _broadcast(tensors: Sequence[Tensor]) -> torch.Size | None:
    """The common shape of what meets element by element; None if it can't."""
    try:
        shapes = (tensor.shape for tensor in tensors)
        return torch.Size(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None
