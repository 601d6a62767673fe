"""A state dict of the compressed shapes, for a network of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from accaware.errors import UsageError
from accaware.pytorch.export.formats.format import FormatOptions, LoadedModel, Written
from accaware.pytorch.export.formats.loaded import module_model
from accaware.pytorch.export.formats.torch_export import check_no_opset
from accaware.pytorch.export.network.deployed import deployed
from accaware.pytorch.export.network.quantization_language import BasicOperators
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.quantization.attach import attached_to
from accaware.pytorch.quantization.quantizers import ActivationQuantizer
from accaware.pytorch.state.checkpoint import read_checkpoint


class StateDict:
    """A state dict, for the user's own code to load.

    The user's own names, tensors and batch norms. In the place of a ``weight`` that is quantized
    stand ``weight_integers`` (int8), ``weight_scale`` and ``weight_zero_point``, and likewise for
    weights of other names, such as ``in_proj_weight``; beside them
    ``input_quantizer`` or ``output_quantizer`` of each module at which an activation is quantized:
    (scale, zero point, least integer, greatest integer) in float64.
    """

    name = "state-dict"
    suffix = ".pt"
    companions: tuple[str, ...] = ()

    def require(self) -> None:
        """Torch is always there."""

    def check(self, options: FormatOptions) -> None:
        """There is no opset, and no batch size to fix."""
        check_no_opset(self.name, options)
        if options.dynamic_batch is False:
            raise UsageError("a state dict takes batches of any size; leave out --static-batch")

    def write(
        self, model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
    ) -> Written:
        """Save the tensors under the model's own names, with the quantizers' beside them."""
        own = deployed(model, inputs, BasicOperators(), fold=False)
        once: dict[tuple[object, ...], Tensor] = {}  # a tied tensor has several names
        state = {
            name: once.setdefault(_place(value), value.detach().clone())
            if isinstance(value, Tensor)
            else value  # what a module's get_extra_state gives
            for name, value in own.state_dict().items()
        }
        for quantizer in _activations(own):
            numbers = (quantizer.scale, quantizer.zero_point, quantizer.low, quantizer.high)
            state[_key(quantizer)] = torch.tensor(numbers, dtype=torch.float64)
        torch.save(state, path)
        return Written(opset=None, fixed_batch=None)

    def read(self, path: Path, model: nn.Module, inputs: ExampleInputs) -> LoadedModel:
        """The user's model, with the file's tensors and quantizers."""
        state = read_checkpoint(path)
        own = deployed(model, inputs, BasicOperators(), fold=False)
        for quantizer in _activations(own):
            scale, zero_point, low, high = state.pop(_key(quantizer)).tolist()
            quantizer.scale, quantizer.zero_point = scale, int(zero_point)
            quantizer.low, quantizer.high = int(low), int(high)
        own.load_state_dict(state)
        return module_model(own, inputs)


def _activations(model: nn.Module) -> Sequence[ActivationQuantizer]:
    quantizers = attached_to(model)
    return () if quantizers is None else quantizers.activations


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Where it lies in memory; equal for two names of one tensor."""
    if not tensor.numel():
        return (id(tensor),)
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _key(quantizer: ActivationQuantizer) -> str:
    return f"{quantizer.module}.{quantizer.side}_quantizer".lstrip(".")
