"""What one forward pass does: which module calls and operations give and take which tensors.

The model runs once, for real, and every torch function on the way is written down. Nothing is
symbolic, so any model that runs can be followed; what depends on the inputs' values is followed
as this one pass went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.forward_watch import ForwardWatch
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.tensors import tensors_in

Value = int
"""Stands for a tensor's content: what changes a tensor in place makes a new one."""


@dataclass(frozen=True)
class Operation:
    """One call of a torch function that gave a tensor, outside of any other.

    Attributes:
        name: ``conv2d``, ``relu_``, ``__iadd__``.
        inputs: of every tensor among the arguments, in order.
        outputs: of every tensor that it gave.
        module: the innermost module whose forward called it.
        time: its place in the order of all operations, from 0.
    """

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    module: str
    time: int


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module.

    Attributes:
        inputs: of every tensor among the arguments, in order.
        output: what it gave, where that is a single tensor.
        begin: how many operations there had been before it.
        end: how many there had been after it.
    """

    module: str
    inputs: tuple[Value, ...]
    output: Value | None
    begin: int
    end: int


@dataclass
class Dataflow:
    """A forward pass, written down.

    Attributes:
        calls: in the order in which they returned, an inner one before the outer one.
        model_inputs: tensors that went into the model.
        model_outputs: tensors that came out of it.
        floating_outputs: those of them whose values are floating-point numbers.
        output_is_tensor: whether a single tensor came out, in nothing else.
        parameters_used: the names of parameters that some operation took.
    """

    operations: list[Operation] = field(default_factory=list)
    calls: list[ModuleCall] = field(default_factory=list)
    model_inputs: tuple[Value, ...] = ()
    model_outputs: tuple[Value, ...] = ()
    floating_outputs: tuple[Value, ...] = ()
    output_is_tensor: bool = True
    parameters_used: frozenset[str] = frozenset()

    def call_of(self, module: str) -> ModuleCall | None:
        """The one call of a module; None where it was called never or several times."""
        calls = [call for call in self.calls if call.module == module]
        return calls[0] if len(calls) == 1 else None

    def producer(self, value: Value) -> Operation | None:
        """The operation that gave a value; None for the model's inputs and parameters."""
        return self._producers.get(value)

    def consumers(self, value: Value) -> Sequence[Operation]:
        """The operations that took a value."""
        return self._consumers.get(value, ())

    @cached_property
    def _producers(self) -> dict[Value, Operation]:
        return {
            value: operation
            for operation in reversed(self.operations)
            for value in operation.outputs
            if value not in operation.inputs
        }

    @cached_property
    def _consumers(self) -> dict[Value, list[Operation]]:
        consumers: dict[Value, list[Operation]] = {}
        for operation in self.operations:
            for value in dict.fromkeys(operation.inputs):
                consumers.setdefault(value, []).append(operation)
        return consumers


def trace(model: nn.Module, inputs: ExampleInputs) -> Dataflow:
    """Follow one forward pass in evaluation mode.

    Args:
        model: it is copied, not touched.

    Raises:
        CompressionError: it can't be copied.
        Exception: whatever the model's forward raises.
    """
    traced = copied(model).eval()
    recorder = _Recorder()
    flow = recorder.flow
    flow.model_inputs = recorder.values((inputs.args, dict(inputs.kwargs)))
    with recorder.watching(traced):
        outputs = inputs.call(traced)
    flow.model_outputs = recorder.values(outputs)
    flow.floating_outputs = recorder.values(
        [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()]
    )
    flow.output_is_tensor = isinstance(outputs, Tensor)
    flow.parameters_used = frozenset(
        name for name, parameter in traced.named_parameters() if recorder.met(parameter)
    )
    return flow


class _Recorder(ForwardWatch):
    """Writes down which calls give and take which tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Dataflow()
        self._begun: list[tuple[tuple[Value, ...], int]] = []
        self._known: dict[int, tuple[Tensor, int, Value]] = {}
        self._next = 0

    def values(self, structure: Any) -> tuple[Value, ...]:
        return tuple(self._value(tensor) for tensor in tensors_in(structure))

    def met(self, tensor: Tensor) -> bool:
        """Whether some operation or module took or gave it."""
        return id(tensor) in self._known

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        inputs = self.values((args, kwargs))
        result = func(*args, **kwargs)
        outputs = self.values(result)
        if outputs:
            name = getattr(func, "__name__", str(func))
            time = len(self.flow.operations)
            self.flow.operations.append(Operation(name, inputs, outputs, self.module, time))
        return result

    def entered(self, inputs: Any) -> None:
        self._begun.append((self.values(inputs), len(self.flow.operations)))

    def left(self, module: str, output: Any) -> None:
        inputs, begin = self._begun.pop()
        value = self._value(output) if isinstance(output, Tensor) else None
        self.flow.calls.append(ModuleCall(module, inputs, value, begin, len(self.flow.operations)))

    def _value(self, tensor: Tensor) -> Value:
        """The tensor's content by number; the tensor is kept, lest another one gets its id."""
        _, version, value = self._known.get(id(tensor), (None, -1, -1))
        if version != tensor._version:
            value, self._next = self._next, self._next + 1
            self._known[id(tensor)] = tensor, tensor._version, value
        return value
