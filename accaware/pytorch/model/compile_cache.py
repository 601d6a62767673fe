"""torch.compile for a model whose layers change their shapes between trials."""

from __future__ import annotations

import torch
from torch import nn


class Recompiled:
    """Compiles a model anew when its shapes have changed, or what is hooked into its layers.

    What was compiled before is dropped: after eight versions of one function torch.compile would
    give up on it. And it doesn't look at hooks again by itself.
    """

    def __init__(self) -> None:
        self._signature: object = None
        self._compiled: nn.Module | None = None

    def of(self, model: nn.Module) -> nn.Module:
        """The compiled model, which shares all that it has with ``model``."""
        signature = _signature(model)
        if self._compiled is None or signature != self._signature:
            torch.compiler.reset()
            self._compiled = torch.compile(model)  # type: ignore[assignment]
            self._signature = signature
        assert self._compiled is not None
        return self._compiled


def _signature(model: nn.Module) -> object:
    layers = [
        (type(layer), tuple(layer._forward_hooks), tuple(layer._forward_pre_hooks))
        for layer in model.modules()
    ]
    return id(model), layers, [parameter.shape for parameter in model.parameters()]
