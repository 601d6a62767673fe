"""A model's way back from something that is only tried."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.state.stateful import Stateful


class DenseState:
    """How everything was when this was made: the model's tensors and modes, and other parts.

    Args:
        model: nothing of it is compressed.
        algorithm: what will compress it.
        parts: in the order in which they are to be brought back.
    """

    def __init__(
        self, model: nn.Module, algorithm: CompressionAlgorithm, parts: Sequence[Stateful] = ()
    ) -> None:
        self._model = model
        self._algorithm = algorithm
        self._tensors = {
            name: tensor.detach().clone() for name, tensor in tensors_of(model).items()
        }
        self._modes = [module.training for module in model.modules()]
        # A plugin may hand out what it goes on working with.
        self._parts = [(part, copy.deepcopy(part.state_dict())) for part in parts]

    def restore(self) -> None:
        """Bring all of it back, to the bit; gradients are dropped."""
        self._algorithm.set_rate(0.0, ())
        with torch.no_grad():
            for name, tensor in tensors_of(self._model).items():
                tensor.grad = None
                tensor.data.copy_(self._tensors[name])
        for module, training in zip(self._model.modules(), self._modes, strict=True):
            module.training = training
        self.restore_parts()

    def restore_parts(self) -> None:
        """Bring back all but the model."""
        for part, state in self._parts:
            part.load_state_dict(copy.deepcopy(state))
