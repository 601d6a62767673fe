"""torch.compile for a model whose layers change their shapes between trials."""

from __future__ import annotations

import torch
from torch import nn


class Recompiled:
    """Compiles a model anew when its shapes have changed.

    What was compiled for the shapes before is dropped: after eight versions of one function
    torch.compile would give up on it.
    """

    def __init__(self) -> None:
        self._shapes: list[torch.Size] = []
        self._compiled: nn.Module | None = None

    def of(self, model: nn.Module) -> nn.Module:
        """The compiled model, which shares all that it has with ``model``."""
        shapes = [parameter.shape for parameter in model.parameters()]
        if self._compiled is None or shapes != self._shapes:
            torch.compiler.reset()
            self._compiled = torch.compile(model)  # type: ignore[assignment]
            self._shapes = shapes
        assert self._compiled is not None
        return self._compiled
