"""Knowledge distillation: the dense model teaches the compressed one.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), section 2.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import CheckpointError, UsageError
from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import tensors_in


class Distillation:
    """Compares what the model gave in its last training forward with what the teacher gives.

    Args:
        model: dense; the teacher is a copy of it. Its forward is watched from here on; a
            copy of it isn't, and has no teacher.
        kind: mse, or softmax or kl, which are the same: the divergence of the softmaxes.
        scale: the loss is multiplied by it.
        temperature: outputs are divided by it before their softmax; mse knows none.
    """

    def __init__(
        self, model: nn.Module, *, kind: str, scale: float = 1.0, temperature: float = 1.0
    ) -> None:
        self._kind = kind
        self._scale = scale
        self._temperature = temperature
        self._teacher = copied(model).eval().requires_grad_(False)
        self._last: _Forward | None = None
        self.used = False
        """Whether anybody has asked for the loss."""
        model.register_forward_hook(_Watch(model, self), with_kwargs=True)

    def loss(self) -> Tensor:
        """The distillation loss of the last forward in training mode: a scalar, never below 0.

        The mean over all outputs that have floating-point values, in single precision at least.
        The teacher computes under the autocast that the model computed under. It is for one
        training step: the forward is forgotten with it.

        Raises:
            UsageError: there was no such forward since the last time; the outputs are no tensors
                with floating-point values.
        """
        self.used = True
        if self._last is None:
            raise UsageError(
                "knowledge distillation compares outputs, and the model gave none in training "
                "mode since the last loss: call the model first, then compression.loss()"
            )
        forward, self._last = self._last, None
        with torch.no_grad(), forward.precision.autocast():
            wanted = forward.inputs.call(self._teacher)
        pairs = list(zip(_floating(forward.outputs), _floating(wanted), strict=False))
        if not pairs:
            raise UsageError("knowledge distillation needs outputs that are floating-point tensors")
        losses = [self._compare(mine, theirs) for mine, theirs in pairs]
        return self._scale * torch.stack(losses).mean()

    def forget(self) -> None:
        """A training step has ended: its forward is no longer to be compared."""
        self._last = None

    def state_dict(self) -> dict[str, Any]:
        """The teacher, which going on needs and nobody else has any more."""
        return {name: tensor.detach() for name, tensor in tensors_of(self._teacher).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give the teacher the values of a state.

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
        """One line on the loss and its scale."""
        return f"knowledge distillation by {self._kind}, scale {self._scale:g}"

    def saw(self, inputs: ExampleInputs, outputs: Any) -> None:
        """The model has computed in training mode."""
        self._last = _Forward(inputs, outputs, _Precision.now(_device_of(outputs)))

    def _compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """One pair of (N, ...) outputs; classes are in the second dimension."""
        if student.shape != teacher.shape:
            raise UsageError(
                f"knowledge distillation: the model gives outputs of shape {list(student.shape)}, "
                f"and the dense one {list(teacher.shape)}"
            )
        # Probabilities that are rounded to half a precision have another sum than 1, and a
        # divergence from them may be below 0.
        precise = torch.promote_types(student.dtype, torch.float32)
        student, teacher = student.to(precise), teacher.to(precise)
        if self._kind == "mse":
            return nn.functional.mse_loss(student, teacher)
        temperature = self._temperature
        divergence = nn.functional.kl_div(
            (student / temperature).log_softmax(1),
            (teacher / temperature).log_softmax(1),
            log_target=True,
            reduction="none",
        )
        # What rounding leaves of a divergence of 0 has no sign to speak of. The square keeps the
        # gradients' size whatever the temperature is (section 2).
        return divergence.sum(1).clamp_min(0).mean() * temperature**2


def gives_class_scores(model: nn.Module, inputs: ExampleInputs) -> bool:
    """Whether all that ``model`` gives looks like (N, K) scores of K classes, two or more.

    Outputs that aren't floating-point tensors, which nothing is compared of, don't count.
    """
    with torch.no_grad():
        outputs = _floating(inputs.call(copied(model).eval()))
    return bool(outputs) and all(each.dim() == 2 and each.shape[1] >= 2 for each in outputs)


@dataclass(frozen=True)
class _Precision:
    """The autocast that a forward ran under."""

    device: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def now(cls, device: str) -> _Precision:
        return cls(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, self.dtype, enabled=self.enabled)


@dataclass(frozen=True)
class _Forward:
    """One call of the model: what went in, what came out, and in which precision."""

    inputs: ExampleInputs
    outputs: Any
    precision: _Precision


class _Watch:
    """The hook on the model's forward, which holds neither the model nor its teacher.

    A copy of the model, and one that was pickled, gets a hook that watches nothing.
    """

    def __init__(
        self, model: nn.Module | None = None, distillation: Distillation | None = None
    ) -> None:
        self._model = None if model is None else weakref.ref(model)
        self._distillation = None if distillation is None else weakref.ref(distillation)

    def __call__(self, model: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._model is None or self._distillation is None or self._model() is not model:
            return
        distillation = self._distillation()
        if distillation is not None and model.training and torch.is_grad_enabled():
            distillation.saw(ExampleInputs(tuple(args), dict(kwargs)), output)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Watch:
        return _Watch()

    def __reduce__(self) -> tuple[type[_Watch], tuple[()]]:
        return _Watch, ()


def _device_of(outputs: Any) -> str:
    return next((tensor.device.type for tensor in _floating(outputs)), "cpu")


def _floating(outputs: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()]
