"""ONNX, by torch's exporter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accaware.errors import RunError, UsageError
from accaware.extras import import_extra
from accaware.pytorch.export.formats.format import FormatOptions, LoadedModel, Written
from accaware.pytorch.export.formats.loaded import runtime_model
from accaware.pytorch.export.network.attention import attending_in_four_dimensions
from accaware.pytorch.export.network.deployed import deployed
from accaware.pytorch.export.network.named_outputs import free_name, giving_named, named_tensors
from accaware.pytorch.export.network.program import exported_program, quietly
from accaware.pytorch.export.network.quantization_language import QuantizeDequantize
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import runtime
from accaware.wording import first_line

OPSET = 21
"""The first one whose QuantizeLinear and DequantizeLinear know blocks and 4 bits; the least here,
and the default, as most runtimes have it."""


class Onnx:
    """ONNX, which onnxruntime reads back."""

    name = "onnx"
    suffix = ".onnx"
    companions: tuple[str, ...] = ()

    def require(self) -> None:
        """Torch's exporter needs onnx and onnxscript, the comparison onnxruntime."""
        for module in ("onnx", "onnxscript", "onnxruntime"):
            import_extra(module, "onnx")

    def check(self, options: FormatOptions) -> None:
        """Accept the opsets that the installed onnx knows."""
        check_opset(options)

    def write(
        self, model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
    ) -> Written:
        """Export through torch's exporter, and put names and metadata right."""
        return write_onnx(model, inputs, path, options)

    def read(self, path: Path, model: nn.Module, inputs: ExampleInputs) -> LoadedModel:
        """The file in onnxruntime, with as many threads as torch has."""
        return runtime_model(runtime("onnxruntime").load(path, torch.get_num_threads()))


def write_onnx(
    model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
) -> Written:
    """Write the model as an ONNX file, with quantization in ONNX's own operators.

    Raises:
        RunError: the model can't be exported.
    """
    opset = OPSET if options.opset is None else options.opset
    with torch.no_grad():
        names = [name for name, _ in named_tensors(inputs.call(model))]
    own = attending_in_four_dimensions(giving_named(deployed(model, inputs, QuantizeDequantize())))
    program, fixed = exported_program(own, inputs, options.dynamic_batch)
    try:
        with quietly():
            made: Any = torch.onnx.export(program, opset_version=opset, dynamo=True, verbose=False)
            _keep_integers(made.model.graph)
            _tidy(made.model, options.metadata)
            _name_outputs(made.model.graph, names)
            made.save(str(path), external_data=False)
    except Exception as error:  # torch's exporter raises whatever came up in its many steps
        raise RunError(
            f"{type(model).__name__} can't be written as ONNX: {_reason(error)}"
        ) from error
    return Written(opset=opset, fixed_batch=fixed)


def _reason(error: BaseException) -> str:
    """What went wrong within the exporter, which wraps it in advice for its own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error, repr(error))


def check_opset(options: FormatOptions) -> None:
    """Refuse an opset that the exporter doesn't write or the installed onnx doesn't know.

    Raises:
        UsageError: an opset that isn't to be had.
    """
    most = import_extra("onnx", "onnx").defs.onnx_opset_version()
    if options.opset is not None and not OPSET <= options.opset <= most:
        raise UsageError(f"opset {options.opset} is not between {OPSET} and {most}")


def _keep_integers(graph: Any) -> None:
    """Let onnxruntime add a bias after a product of integers, and not in a Gemm of floats.

    Where all sizes are known it makes a Gemm of a MatMul of three dimensions and an Add of a
    vector; it does not of one row, which is the same sum. The Gemm is one of floats, and signed
    integers before it make onnxruntime 1.32 refuse the file (its issues 25526 and 28144).
    """
    ir = import_extra("onnxscript", "onnx").ir
    for node in graph:
        if node.op_type != "Add":
            continue
        for at, (product, bias) in enumerate((node.inputs, node.inputs[::-1])):
            made_by = product.producer()
            if made_by is None or made_by.op_type != "MatMul":
                continue
            if (
                _is_dequantized(made_by.inputs[0])
                and bias.is_initializer()
                and len(bias.shape) == 1
            ):
                name = f"{bias.name}_row"
                if name not in graph.initializers:
                    row = ir.tensor(bias.const_value.numpy()[None], name=name)
                    graph.initializers[name] = ir.Value(name=name, const_value=row)
                node.replace_input_with(1 - at, graph.initializers[name])
                if not bias.uses():
                    del graph.initializers[bias.name]


def _is_dequantized(value: Any) -> bool:
    made_by = value.producer()
    return made_by is not None and made_by.op_type == "DequantizeLinear"


def _tidy(model: Any, metadata: Mapping[str, str]) -> None:
    """Our metadata in place of the exporter's, which tells of the machine's folders."""
    graph = model.graph
    for described in (model, graph, *graph, *graph.initializers.values()):
        described.metadata_props.clear()
    for node in graph:
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.outputs):
        value.metadata_props.clear()
        _name_batch(value)
    model.metadata_props.update(metadata)


def _name_batch(value: Any) -> None:
    """A batch of any size is called so, not by the exporter's number."""
    if value.shape is not None and len(value.shape) and not isinstance(value.shape[0], int):
        value.shape[0] = "batch"


def _name_outputs(graph: Any, names: Sequence[str]) -> None:
    """Outputs are called as the model calls them, unless an input or a tensor is called so."""
    taken = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    wanted = [f"{name}_output" if name in taken else name for name in names]
    final = [free_name(name, taken) for name in wanted]
    outputs = list(graph.outputs)
    inner = [value for node in graph for value in node.outputs if value not in outputs]
    used = {*taken, *(value.name for value in inner)}
    for value in inner:
        if value.name in final:
            value.name = free_name(value.name, used)
    for value, name in zip(outputs, final, strict=True):
        value.name = name
