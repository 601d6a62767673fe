"""torch.export's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from accaware.errors import UsageError
from accaware.pytorch.export.formats.format import FormatOptions, LoadedModel, Written
from accaware.pytorch.export.formats.loaded import module_model
from accaware.pytorch.export.network.deployed import deployed
from accaware.pytorch.export.network.named_outputs import giving_named, is_tree
from accaware.pytorch.export.network.program import exported_program, quietly
from accaware.pytorch.export.network.quantization_language import BasicOperators
from accaware.pytorch.model.inputs import ExampleInputs


class TorchExport:
    """A program of torch.export's, which gives what the model gives.

    Outputs in objects that torch doesn't know become a mapping of their names.
    """

    name = "torch-export"
    suffix = ".pt2"
    companions: tuple[str, ...] = ()

    def require(self) -> None:
        """Torch is always there."""

    def check(self, options: FormatOptions) -> None:
        """There is no opset."""
        check_no_opset(self.name, options)

    def write(
        self, model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
    ) -> Written:
        """Save the program that torch.export traces, the metadata as files in it."""
        own = deployed(model, inputs, BasicOperators())
        with torch.no_grad():
            outputs = inputs.call(own)
        if not is_tree(outputs):
            own = giving_named(own)
        program, fixed = exported_program(own, inputs, options.dynamic_batch)
        files = {f"{key}.txt": value for key, value in options.metadata.items()}
        with quietly():
            torch.export.save(program, path, extra_files=files)
        return Written(opset=None, fixed_batch=fixed)

    def read(self, path: Path, model: nn.Module, inputs: ExampleInputs) -> LoadedModel:
        """The program as a module."""
        with quietly():
            module: Any = torch.export.load(path).module()
        return module_model(module, inputs)


def check_no_opset(name: str, options: FormatOptions) -> None:
    """Refuse an opset for a format that has none.

    Raises:
        UsageError: an opset is asked for.
    """
    if options.opset is not None:
        raise UsageError(f"--opset {options.opset} is for onnx and openvino, not for {name}")
