"""Knowledge distillation: the untouched model teaches the compressed one.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.config.model import KnowledgeDistillationConfig
from accaware.errors import CheckpointError, UsageError
from accaware.pytorch.compact import tensors_of
from accaware.pytorch.copies import copied
from accaware.pytorch.inputs import ExampleInputs


class Distillation:
    """Compares what the model gave in its last training forward with what the teacher gives.

    Args:
        model: untouched; the teacher is a copy of it. Its forward is watched from here on.
        config: the algorithm's section.
    """

    def __init__(self, model: nn.Module, config: KnowledgeDistillationConfig) -> None:
        self._config = config
        self._teacher = copied(model).eval().requires_grad_(False)
        self._last: tuple[ExampleInputs, Any] | None = None
        model.register_forward_hook(self._watch, with_kwargs=True)

    def loss(self) -> Tensor:
        """The distillation loss of the last forward in training mode: a scalar.

        The mean over all outputs that have floating-point values. It is for one training step:
        the forward is forgotten with it.

        Raises:
            UsageError: there was no such forward since the last time; the outputs are no tensors
                with floating-point values.
        """
        if self._last is None:
            raise UsageError(
                "knowledge distillation compares outputs, and the model gave none in training "
                "mode since the last loss: call the model first, then compression.loss()"
            )
        (inputs, outputs), self._last = self._last, None
        with torch.no_grad():
            wanted = inputs.call(self._teacher)
        pairs = list(zip(_floating(outputs), _floating(wanted), strict=False))
        if not pairs:
            raise UsageError("knowledge distillation needs outputs that are floating-point tensors")
        losses = [self._compare(mine, theirs) for mine, theirs in pairs]
        return self._config.scale * torch.stack(losses).mean()

    def state_dict(self) -> dict[str, Any]:
        """The teacher, which going on needs and nobody else has any more."""
        return {name: tensor.detach() for name, tensor in tensors_of(self._teacher).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Raises:
            CheckpointError: the state is another teacher's.
        """
        tensors = tensors_of(self._teacher)
        if {name: tensor.shape for name, tensor in state.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise CheckpointError("the checkpoint's teacher is not this model")
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(state[name])

    def describe(self) -> str:
        return f"knowledge distillation by {self._config.type}, scale {self._config.scale:g}"

    def _watch(self, model: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if model.training and torch.is_grad_enabled():
            self._last = ExampleInputs(tuple(args), dict(kwargs)), output

    def _compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """One pair of (N, ...) outputs; classes are in the second dimension."""
        if student.shape != teacher.shape:
            raise UsageError(
                f"knowledge distillation: the model gives outputs of shape {list(student.shape)}, "
                f"and the untouched one {list(teacher.shape)}"
            )
        if self._config.type == "mse":
            return nn.functional.mse_loss(student, teacher)
        temperature = self._config.temperature
        divergence = nn.functional.kl_div(
            (student / temperature).log_softmax(1),
            (teacher / temperature).log_softmax(1),
            log_target=True,
            reduction="none",
        )
        # The square keeps the gradients' size whatever the temperature is (section 2).
        return divergence.sum(1).mean() * temperature**2


def _floating(outputs: Any) -> list[Tensor]:
    return [
        leaf
        for leaf in pytree.tree_leaves(outputs)
        if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
