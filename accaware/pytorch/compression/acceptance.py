"""What a model must be to be compressed at all; all else is told layer by layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from accaware.errors import AccAwareError, CompressionError, UsageError
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.wording import first_line

NEEDS_GRADIENTS = (
    "its forward computes gradients, and is also called where none are recorded, as in every "
    "evaluation: put `with torch.enable_grad():` around what needs them"
)


def check_model(model: nn.Module) -> None:
    """Refuse what can't be compressed, whatever its layers are.

    Raises:
        UsageError: it has no parameters, some have no values yet, or it is scripted.
    """
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            f"{kind} is scripted or traced by torch.jit, where layers can't change: hand over the "
            "module that it was made of, and script the compressed one"
        )
    check_initialised(model)
    parameters = dict(model.named_parameters())
    if not parameters:
        raise UsageError(f"{kind} has no parameters: there is nothing to compress")
    for name, parameter in parameters.items():
        if parameter.is_meta:
            raise UsageError(
                f"{name} of {kind} is on the meta device, without values: load the trained "
                "weights before the model is handed over"
            )


def check_initialised(model: nn.Module) -> None:
    """Refuse a model that has tensors without a shape.

    Raises:
        UsageError: a lazy layer hasn't seen any input yet.
    """
    for name, module in model.named_modules():
        tensors = (*module._parameters.values(), *module._buffers.values())
        if any(is_lazy(tensor) for tensor in tensors):
            raise UsageError(
                f"{name or 'the model'} ({type(module).__name__}) has no shape yet: call the "
                "model on a batch before it is handed over"
            )


def counted_flops(model: nn.Module, inputs: ExampleInputs) -> FlopsModel:
    """The model's operations, for which it must run.

    Raises:
        CompressionError: it doesn't run on the inputs, or can't be copied.
        OutOfMemoryError: of the device.
    """
    try:
        return FlopsModel(model, inputs)
    except (AccAwareError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        kind = type(model).__name__
        if needs_gradients(error):
            raise CompressionError(f"{kind} can't be traced: {NEEDS_GRADIENTS}") from error
        reason = first_line(error, "no message")
        raise CompressionError(
            f"{kind} doesn't run on the example inputs ({type(error).__name__}: {reason})"
        ) from error


def needs_gradients(error: BaseException) -> bool:
    """Whether a forward failed because no gradients were recorded."""
    return isinstance(error, RuntimeError) and "does not require grad" in str(error)
