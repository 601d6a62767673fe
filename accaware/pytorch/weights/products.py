"""Which parameters a forward multiplies its activations with, whatever module they are in.

A module of the user's may convolve or multiply by a parameter of its own: transformers' Conv1D,
experts held as one tensor with three dimensions, a convolution that is called as a function. Such
a parameter is a weight as a linear layer's is. One that is added, scales or is looked up is none.

A parameter is followed through what only views or copies it (a transpose, one expert of many) to
the product that takes it; a weight that is computed of it is another tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import tensors_in

_CONVOLUTIONS = frozenset(f"conv{dims}d" for dims in (1, 2, 3))
_TRANSPOSED = frozenset(f"conv_transpose{dims}d" for dims in (1, 2, 3))
_MATRIX = frozenset(("matmul", "__matmul__", "mm", "bmm", "mv", "_grouped_mm", "grouped_mm"))
_SUMMED = frozenset(("addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addmv"))
"""A matrix is added to the product; it comes first."""

PRODUCTS = frozenset((*_CONVOLUTIONS, *_TRANSPOSED, *_MATRIX, *_SUMMED, "linear", "einsum"))
"""Operations that may multiply activations with a weight."""

_COPIES = frozenset((
    "__getitem__", "index_select", "gather", "take_along_dim", "contiguous", "clone", "reshape",
    "flatten", "cat", "concat", "stack", "repeat", "expand", "to", "type", "type_as",
))  # fmt: skip
"""What may give a copy of a parameter's values, and nothing but these."""

_CASTS = frozenset(("to", "type", "type_as", "float", "half", "bfloat16", "double"))


@dataclass(frozen=True)
class Product:
    """How a forward multiplies with a parameter.

    Attributes:
        module: the innermost module whose forward does.
        inputs: the parameter's dimension that the product sums over; None where that isn't known.
        outputs: its dimension along which the outputs lie; None likewise.
        times: how many products take it.
    """

    module: str
    inputs: int | None
    outputs: int | None
    times: int = 1


def products_of(
    model: nn.Module, inputs: ExampleInputs, names: frozenset[str]
) -> tuple[dict[str, Product], frozenset[str]]:
    """Follow one forward in evaluation mode.

    Args:
        model: it is copied, not touched.
        names: of the parameters to follow.

    Returns:
        The product of each parameter that has one, and the names of those that are looked up.

    Raises:
        CompressionError: the model can't be copied.
        Exception: whatever its forward raises.
    """
    own = copied(model).eval()
    followed = {
        name: parameter
        for name, parameter in own.named_parameters(remove_duplicate=False)
        if name in names
    }
    watch = _Products(followed)
    with watch.watching(own):
        inputs.call(own)
    return watch.products, frozenset(watch.looked_up)


@dataclass(frozen=True)
class _Part:
    """A tensor that has values of a parameter, and the parameter's dimension that each of its is.

    The tensor is kept, lest another one gets its id.
    """

    tensor: Tensor
    name: str
    dims: tuple[int | None, ...]


class _Products(ForwardWatch):
    def __init__(self, followed: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.products: dict[str, Product] = {}
        self.looked_up: set[str] = set()
        self._followed = followed
        # Two names of one tensor have the first one here; whoever asks knows that they are tied.
        self._memory: dict[int, str] = {}
        for name, parameter in followed.items():
            if (memory := _memory_of(parameter)) is not None:
                self._memory.setdefault(memory, name)
        self._copies: dict[int, _Part] = {}

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("embedding", "embedding_bag"):
            self.looked_up.update(
                part.name for tensor in tensors_in((args, kwargs)) if (part := self._part(tensor))
            )
        elif name == "multi_head_attention_forward":
            self._attention((*args, *kwargs.values()))
        else:
            operands = [
                (part, summed, outputs)
                for operand, summed, outputs in _operands(name, args, kwargs)
                if (part := self._part(operand)) is not None
            ]
            # A product of two parameters makes another parameter, and reads no activation.
            if len(operands) == 1:
                self._note(*operands[0])
        result = func(*args, **kwargs)
        if name in _COPIES or name in _CASTS:
            self._carry(name, args, result)
        return result

    def _attention(self, arguments: tuple[Any, ...]) -> None:
        """Torch's own function takes projections of (outputs, inputs), wherever they are named."""
        for tensor in arguments:
            if isinstance(tensor, Tensor) and tensor.dim() == 2 and (part := self._part(tensor)):
                self._note(part, 1, 0)

    def _note(self, part: _Part, summed: int | None, outputs: int | None) -> None:
        made = Product(
            self.module,
            None if summed is None else part.dims[summed],
            None if outputs is None else part.dims[outputs],
        )
        before = self.products.get(part.name)
        if before is not None:
            made = Product(
                before.module if before.module == made.module else "",
                before.inputs if before.inputs == made.inputs else None,
                before.outputs if before.outputs == made.outputs else None,
                before.times + 1,
            )
        self.products[part.name] = made

    def _carry(self, operation: str, args: tuple[Any, ...], result: Any) -> None:
        sources = (self._part(tensor) for tensor in tensors_in(args[:1]))
        part = next((source for source in sources if source is not None), None)
        if part is None:
            return
        for tensor in tensors_in(result):
            if self._part(tensor) is None:
                same = operation in _CASTS and tensor.shape == part.tensor.shape
                dims = part.dims if same else (None,) * tensor.dim()
                self._copies[id(tensor)] = _Part(tensor, part.name, dims)

    def _part(self, tensor: Tensor) -> _Part | None:
        carried = self._copies.get(id(tensor))
        if carried is not None:
            return carried
        memory = _memory_of(tensor)
        name = None if memory is None else self._memory.get(memory)
        if name is None:
            return None
        return _Part(tensor, name, tuple(_same_dimensions(tensor, self._followed[name])))


def _memory_of(tensor: Tensor) -> int | None:
    """Where its values lie; None where they lie in several places, or nowhere yet."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    try:
        return tensor.untyped_storage().data_ptr()
    except RuntimeError:  # what torch.func puts around a tensor has no memory of its own
        return None


def _same_dimensions(view: Tensor, parameter: Tensor) -> Iterator[int | None]:
    """Which dimension of the parameter each of a view's is: of the same size, at the same steps."""
    known = list(zip(parameter.shape, parameter.stride(), strict=True))
    for own in zip(view.shape, view.stride(), strict=True):
        yield known.index(own) if own[0] > 1 and known.count(own) == 1 else None


def weight_argument(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """What a call of a convolution or a linear layer multiplies with; None for other calls."""
    if name != "linear" and name not in _CONVOLUTIONS | _TRANSPOSED:
        return None
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    return weight if isinstance(weight, Tensor) else None


Operand = tuple[Tensor, int | None, int | None]
"""A factor of a product, its dimension that is summed over, and that along the outputs."""


def _operands(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Operand]:
    """What may be a weight among the arguments of a product; nothing where it is none."""
    weight = weight_argument(name, args, kwargs)
    if weight is not None:
        yield (weight, 0, 1) if name in _TRANSPOSED else (weight, 1, 0)
    elif name == "bilinear":
        weight = args[2] if len(args) > 2 else kwargs.get("weight")
        if isinstance(weight, Tensor):
            yield weight, None, 0
    elif name in _MATRIX or name in _SUMMED:
        factors = tensors_in((args, dict(kwargs)))[name in _SUMMED :][:2]
        if len(factors) == 2:
            left, right = factors
            yield left, -1, -2 if left.dim() > 1 else None
            if right.dim() > 1:
                yield right, -2, -1
    elif name == "einsum" and args and isinstance(args[0], str):
        yield from _einsum(args[0], tensors_in(args[1:]))


def _einsum(equation: str, operands: tuple[Tensor, ...]) -> Iterator[Operand]:
    terms, _, result = equation.replace(" ", "").partition("->")
    for term, tensor in zip(terms.split(","), operands, strict=False):
        summed = [at for at, letter in enumerate(term) if letter not in result]
        others = {letter for other in terms.split(",") if other != term for letter in other}
        outputs = [at for at, letter in enumerate(term) if letter not in others]
        known = "." not in term and len(term) == tensor.dim() and bool(result)
        yield (
            tensor,
            summed[0] if known and len(summed) == 1 else None,
            outputs[0] if known and len(outputs) == 1 else None,
        )
