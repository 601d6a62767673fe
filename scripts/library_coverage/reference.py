"""A dense model that computes what a pruned one must, and the comparison of the two.

It knows nothing of how channels were followed: what a layer no longer makes is zero in it. Where a
function behind a layer makes something of zeros (a sigmoid), nobody reads that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from accaware.pytorch.channels.layout import KeptMasks
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import output_tensors

DOUBLE, SINGLE = 1e-8, 1e-4
"""Largest difference of outputs, relative to the largest of them, by the precision within."""

_FROZEN = ("running_var",)


def masked(model: nn.Module, kept: KeptMasks, *, readers: bool) -> nn.Module:
    """The dense model, changed in place to miss what isn't kept.

    Args:
        readers: whether those who read what a layer no longer makes don't, either.
    """
    for name, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for key, tensor in own:
            masks = kept.get(f"{name}.{key}" if name else key, {})
            if not masks or key in _FROZEN:
                continue
            layer = isinstance(module, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm))
            # A layer makes what lies along its first dimension; a bare parameter has one.
            making = 0 if layer else next(iter(masks))
            for dim in masks if readers else {making} & set(masks):
                shape = [1] * tensor.dim()
                shape[dim] = -1
                tensor.data.mul_(masks[dim].reshape(shape).to(tensor.device))
    return model


def output_of(model: nn.Module, inputs: ExampleInputs, *, number: int = 0) -> list[Tensor]:
    """All tensors of the output, by random numbers of that seed.

    Raises:
        ValueError: there is no number in it, so that nothing could be compared.
    """
    torch.manual_seed(number)
    with torch.no_grad():
        found = list(output_tensors(inputs.call(model)))
    if not any(tensor.numel() for tensor in found):
        raise ValueError("the output holds no numbers")
    return found


def in_double(inputs: ExampleInputs) -> ExampleInputs:
    """The same; what isn't a floating-point tensor stays."""
    return inputs.mapped(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def rounded(inputs: ExampleInputs) -> ExampleInputs:
    """The same inputs, as they would be after one more rounding in double precision."""
    generator = torch.Generator().manual_seed(0)

    def moved(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        signs = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).sign()
        return tensor * (1 + torch.finfo(torch.float64).eps * signs)

    return inputs.mapped(moved)


def difference(mine: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest, relative to the largest output; infinite where the shapes are others."""
    if [one.shape for one in mine] != [one.shape for one in theirs]:
        return float("inf")
    worst = 0.0
    for own, other in zip(mine, theirs, strict=True):
        if not own.numel():
            continue
        if not (own.is_floating_point() or own.is_complex()):
            worst = max(worst, 0.0 if torch.equal(own, other) else float("inf"))
            continue
        largest = float(other.abs().max())
        off = float((own - other).abs().max())
        # A NaN is nothing that could be compared, and no agreement.
        worst = max(worst, off / largest if largest > 0 else off) if off == off else float("inf")
    return worst


class SinglePrecision(TorchDispatchMode):
    """Notes whether a model that is in double precision computes anything in a lower one."""

    def __init__(self) -> None:
        super().__init__()
        self.met = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.dtype in (torch.float32, torch.bfloat16, torch.float16):
            self.met = True
        return out
