"""Tensors that hold values of one parameter: a transpose of it, one expert's matrix of many.

What multiplies by such a part multiplies by the parameter, so it is known which of the parameter's
dimensions lies along which of the part's. What a part is used for is open until it is: where it
is added to something, it is followed element by element as any other tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from accaware.pytorch.channels.tracing.call import Call
from accaware.pytorch.channels.tracing.coupling import thin, varies
from accaware.pytorch.channels.tracing.weights.parameters import Parameters

COPIES = frozenset(("to", "type_as", "float", "double", "half", "bfloat16", "detach"))
"""What gives the values of a tensor where they were, perhaps in another type."""

MOVES = COPIES | {
    "__getitem__", "__get__", "chunk", "clone", "contiguous", "expand", "index_select", "moveaxis",
    "movedim", "narrow", "permute", "select", "split", "split_with_sizes", "squeeze", "swapaxes",
    "swapdims", "t", "transpose", "unbind", "unsqueeze",
}  # fmt: skip
"""What gives values of a tensor elsewhere; what it takes besides are indices."""


@dataclass(frozen=True, eq=False)
class WeightPart:
    """Where in a parameter each element of a tensor lies.

    Attributes:
        name: the parameter's.
        shape: the parameter's.
        coordinates: for each of the parameter's dimensions where along it, in the tensor's shape.
        moved: what gave the tensor; None for the parameter itself.
        place: which of the call's outputs it is.
    """

    name: str
    shape: torch.Size
    coordinates: tuple[Tensor, ...]
    moved: Call | None = None
    place: int = 0

    @classmethod
    def whole(cls, name: str, shape: torch.Size) -> Self:
        """The parameter itself."""
        lines = (
            torch.arange(size, dtype=torch.float64).reshape(
                [-1 if other == dim else 1 for other in range(len(shape))]
            )
            for dim, size in enumerate(shape)
        )
        return cls(name, shape, tuple(line.expand(shape) for line in lines))

    def after(self, call: Call) -> list[WeightPart] | None:
        """What a call gives of it; None for one that does more than to move its elements."""
        if call.name not in MOVES:
            return None
        kept = [self.coordinates] * len(call.outputs)
        if call.name not in COPIES:
            try:
                kept = list(zip(*(_moved(each, call) for each in self.coordinates), strict=True))
            except Exception:  # noqa: BLE001 - what can't be done to coordinates isn't followed
                return None
        # Whatever is remembered of the call, experts that were copied aren't.
        shapes = tuple(torch.empty(each.shape, device="meta") for each in call.outputs)
        origin = Call(call.func, call.args, call.kwargs, call.module, call.place, shapes)
        return [
            WeightPart(self.name, self.shape, each, origin, place)
            for place, each in enumerate(kept)
        ]

    def along(self, dims: Sequence[int]) -> dict[int, tuple[int, Tensor]] | None:
        """Which dimension of the parameter lies along each of some dimensions of the part.

        Returns:
            Dimension -> the parameter's, and the (size,) indices along it that the part has; None
            where that isn't a dimension each, whatever lies across it.
        """
        found: dict[int, tuple[int, Tensor]] = {}
        for dim in dims:
            here = [own for own, each in enumerate(self.coordinates) if varies(each, dim)]
            if not here:  # a single one
                here = [
                    own
                    for own, each in enumerate(self.coordinates)
                    if not any(varies(each, other) for other in range(each.dim()))
                    and own not in [known for known, _ in found.values()]
                ][-1:]
            if len(here) != 1:
                return None
            (own,) = here
            coordinates = self.coordinates[own]
            others = [other for other in range(coordinates.dim()) if other != dim]
            if any(varies(coordinates, other) for other in others):
                return None
            line = thin(coordinates).amax(others) if others else coordinates
            found[dim] = own, line.expand(coordinates.shape[dim]).long()
        return found if len({own for own, _ in found.values()}) == len(dims) else None


class WeightParts:
    """Which tensors hold values of weights, and nothing else was done with them.

    Args:
        parameters: the model's.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._parts: Any = WeakIdKeyDictionary()

    def __contains__(self, tensor: Tensor) -> bool:
        return self.name(tensor) is not None

    def __getitem__(self, tensor: Tensor) -> WeightPart | None:
        """Where its elements lie in a parameter that may be a layer's weight."""
        part: WeightPart | None = self._parts.get(tensor)
        name = self.name(tensor)
        return WeightPart.whole(name, tensor.shape) if part is None and name is not None else part

    def name(self, tensor: Tensor) -> str | None:
        """The parameter that it is, or holds values of; None where that can't be a weight."""
        (name, *_) = self._parameters.names(tensor) or ("",)
        if name in self._parameters.owners:
            return name
        part: WeightPart | None = self._parts.get(tensor)
        return None if part is None else part.name

    def move(self, call: Call) -> bool:
        """Note where the elements of a weight lie that a call moves.

        Returns:
            False for a call that does something else.
        """
        data = call.inputs[0]
        part = self[data]
        moved = None if part is None else part.after(call)
        if moved is None:
            return False
        for tensor, after in zip(call.outputs, moved, strict=True):
            if tensor not in self._parameters and tensor is not data:
                self._parts[tensor] = after
        return True

    def pop(self, tensor: Tensor) -> WeightPart | None:
        """What a tensor was a part of, which it is taken for no longer."""
        part: WeightPart | None = self._parts.pop(tensor, None)
        return part


def _moved(coordinates: Tensor, call: Call) -> tuple[Tensor, ...]:
    """The same is done to coordinates; any index will do in the place of one without values."""
    places = count()

    def change(tensor: Tensor) -> Tensor:
        if next(places) == 0:
            return coordinates
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor.cpu()

    return call.on(change)
