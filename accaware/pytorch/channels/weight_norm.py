"""Weight norm: a weight is a direction of norm one times a scale for each filter.

Of a direction that lost inputs the norm is smaller, and all weights would be larger by that. So the
scale is made smaller by as much: what is left of the weight is what it was (Salimans and Kingma,
"Weight Normalization", 2016, equation 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm as Hook


@dataclass(frozen=True)
class WeightNorm:
    """A layer's weight norm.

    Attributes:
        direction: the parameter's name in the model.
        scale: the same; its size is 1 along all dimensions but one.
        dim: that one; None where one norm is that of all.
    """

    direction: str
    scale: str
    dim: int | None

    @property
    def tensors(self) -> tuple[str, str]:
        """Of both parameters the names."""
        return self.direction, self.scale

    def of(self, direction: Tensor) -> Tensor:
        """The norms, in the scale's shape; in double precision, as the trials ask for it."""
        dims = [dim for dim in range(direction.dim()) if dim != self.dim]
        dtype = None if direction.device.type == "mps" else torch.float64
        norms: Tensor = torch.linalg.vector_norm(
            direction.detach(), dim=dims, keepdim=self.dim is not None, dtype=dtype
        )
        return norms

    def weight(self, direction: Tensor, scale: Tensor) -> Tensor:
        """What the layer multiplies with."""
        weight: Tensor = direction.detach() * (scale.detach() / self.of(direction).to(scale))
        return weight

    @staticmethod
    def share(left: Tensor, whole: Tensor) -> Tensor:
        """What of the norms is left; all, where nothing was."""
        return torch.where(whole > 0, left / whole, 1)


def weight_norms(model: nn.Module) -> Iterator[WeightNorm]:
    """Of a model's layers those whose weight is computed by torch's weight norm, either kind."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, Hook):
                yield WeightNorm(f"{prefix}{hook.name}_v", f"{prefix}{hook.name}_g", _dim(hook.dim))
        if isinstance(module, parametrize.ParametrizationList):
            first, *others = module
            if isinstance(first, _WeightNorm) and not others:
                yield WeightNorm(f"{prefix}original1", f"{prefix}original0", _dim(first.dim))


def _dim(dim: int) -> int | None:
    return None if dim == -1 else dim
