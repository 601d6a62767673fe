"""Whether a layer and a batch norm are what folding takes them for.

A class alone proves nothing: one derived from it may standardise its weight, or end in an
activation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accaware.pytorch.export.network.line import Line, scale_layer
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import CONVOLUTIONS

LAYERS = (*CONVOLUTIONS, nn.Linear)

_TOLERANCE = 1e-6
"""Of the largest magnitude; everything is tried in double precision."""

_SAMPLES = 16
_DEVIATIONS = 4.0
"""So many values of each channel at least, this far around its mean: on both sides of whatever a
derived class may cut off."""


@dataclass(frozen=True)
class Seen:
    """One call of a module: its inputs and its output, on the meta device where they float."""

    inputs: ExampleInputs
    output: Tensor


def calls_of(model: nn.Module, names: set[str], inputs: ExampleInputs) -> dict[str, Seen]:
    """The calls of these modules in a forward, the last one of each."""
    seen: dict[str, Seen] = {}
    handles = []
    for name in names:

        def note(
            module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object],
            output: object, name: str = name,
        ) -> None:  # fmt: skip
            if isinstance(output, Tensor):
                seen[name] = Seen(ExampleInputs(args, kwargs).mapped(_shape), _shape(output))

        hooked = model.get_submodule(name)
        handles.append(hooked.register_forward_hook(note, with_kwargs=True))
    try:
        with torch.no_grad():
            inputs.call(model)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def is_line(norm: nn.Module, line: Line, call: Seen) -> bool:
    """Whether a batch norm does to its channels what its numbers say, and nothing else.

    Args:
        norm: in evaluation mode.
        line: by its numbers.
        call: of it.
    """
    if norm._forward_hooks or norm._forward_pre_hooks:
        return False
    shape = (_SAMPLES, *call.output.shape[1:2], *(min(size, 4) for size in call.output.shape[2:]))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    # Around the values that the norm maps to 0 and 1.
    values = line.inverse().on(noise * _DEVIATIONS)
    return _same(_called(copied(norm).double(), ExampleInputs.of(values)), line.on(values))


def takes_line(layer: nn.Module, line: Line, call: Seen) -> bool:
    """Whether the layer with its weight and bias scaled gives what the line makes of its output.

    Args:
        layer: in evaluation mode.
        call: of it.
    """
    if type(layer) in LAYERS and not layer._forward_hooks and not layer._forward_pre_hooks:
        return type(layer) is not nn.Linear or call.output.dim() == 2
    generator = torch.Generator().manual_seed(0)

    def noise(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return torch.randn(tensor.shape, generator=generator, dtype=torch.double)

    inputs = call.inputs.mapped(noise)
    before = copied(layer).double()
    after = copied(before)
    scale_layer(after, line)
    output = _called(before, inputs)
    if not isinstance(output, Tensor) or output.shape[1:2] != line.factor.shape:
        return False
    return _same(_called(after, inputs), line.on(output))


def _called(module: nn.Module, inputs: ExampleInputs) -> object:
    """None where it can't be called so: then nothing is proven, and nothing is folded."""
    try:
        with torch.no_grad():
            return inputs.call(module)
    except (RuntimeError, TypeError, ValueError):  # torch's, in a precision that it doesn't take
        return None


def _same(found: object, expected: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != expected.shape or not expected.numel():
        return False
    apart, largest = (found.double() - expected).abs().max(), expected.abs().max()
    return bool(apart <= _TOLERANCE * largest) and bool(largest.isfinite())


def _shape(tensor: Tensor) -> Tensor:
    return tensor.to("meta") if tensor.is_floating_point() else tensor
