"""One way of running a model: a mode, and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.trials.arithmetic import Arithmetic
from accaware.pytorch.channels.trials.products import grouped_product, multiply
from accaware.pytorch.data.random_state import repeatable
from accaware.pytorch.model.deterministic import call_steadily
from accaware.pytorch.model.function_mode import FunctionMode
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import Mode
from accaware.pytorch.model.tensors import output_tensors, tensors_in
from accaware.pytorch.model.wrappers import eagerly


@dataclass(frozen=True, eq=False)
class Observed:
    """What is seen of a run.

    Attributes:
        outputs: all that the forward gives.
        decisions: the numbers that something whole was made from on the way (an argmax, a
            threshold, an order), in turn. Networks that have little in common decide alike, so
            these tell more than what was decided.
    """

    outputs: Sequence[Tensor]
    decisions: Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class RemovalTrial:
    """Runs a model, the same way each time.

    Attributes:
        mode: that the model is put into.
        inputs: floating-point tensors get the arithmetic's precision.
        seed: of all random numbers.
        at_other_size: the inputs are of another size than the example inputs.
    """

    mode: Mode
    inputs: ExampleInputs
    seed: int = 0
    at_other_size: bool = False

    def run(self, model: nn.Module, arithmetic: Arithmetic | None = None) -> Observed:
        """Run the model on the trial's inputs, and see its outputs and decisions.

        Args:
            arithmetic: None for the model's own precision.

        Raises:
            Exception: whatever the model's forward raises.
        """
        self.mode.set(model)
        parameter = next((each for each in model.parameters() if each.is_floating_point()), None)
        if arithmetic is None:
            own = torch.get_default_dtype() if parameter is None else parameter.dtype
            arithmetic = Arithmetic(own)
        dtype = arithmetic.dtype
        device = torch.device("cpu") if parameter is None else parameter.device
        inputs = self.inputs.mapped(
            # A copy, as forwards may write into what they are given.
            lambda tensor: tensor.to(
                dtype if tensor.is_floating_point() else tensor.dtype, copy=True
            )
        )
        running = _Running(arithmetic)
        with eagerly(), repeatable(self.seed, device), running:
            outputs = output_tensors(inputs.call(model))
        return Observed(outputs, running.decisions)


class _Running(FunctionMode):
    """Torch's functions as they are in a trial: steady, and quick in double precision."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.decisions: list[Tensor] = []
        self._arithmetic = arithmetic

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        outputs = self._product(func, args, kwargs)
        if outputs is None:
            args, kwargs = self._arithmetic.widened((args, kwargs))
            outputs = grouped_product(func, args, kwargs)
        if outputs is None:
            outputs = call_steadily(func, args, kwargs)
        if any(not _floating(tensor) for tensor in tensors_in(outputs)) and not _creates(func):
            inputs = tensors_in((args, dict(kwargs)))
            self.decisions += [tensor for tensor in inputs if tensor.is_floating_point()]
        return outputs

    def _product(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor | None:
        if torch.is_grad_enabled() or len(args) < 2:
            return None
        return multiply(func, args, kwargs, self._arithmetic.kept.get(id(args[1]), {}))


def _floating(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _creates(func: Callable[..., Any]) -> bool:
    """Whether it asks of what it takes nothing but the shape."""
    name = getattr(func, "__name__", "")
    return name.startswith("new_") or name.endswith("_like")
