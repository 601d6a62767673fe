"""OpenVINO's own files, by way of ONNX."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from accaware.extras import import_extra
from accaware.pytorch.export.formats.format import FormatOptions, LoadedModel, Written
from accaware.pytorch.export.formats.loaded import runtime_model
from accaware.pytorch.export.formats.onnx import check_opset, write_onnx
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import runtime
from accaware.runtimes.openvino_runtime import core


class OpenVINO:
    """OpenVINO's own files, .xml and .bin, by way of ONNX."""

    name = "openvino"
    suffix = ".xml"
    companions = (".bin",)

    def require(self) -> None:
        """OpenVINO, and what torch's exporter to ONNX needs."""
        for module in ("openvino", "onnx", "onnxscript"):
            import_extra(module, "openvino")

    def check(self, options: FormatOptions) -> None:
        """Accept the opsets that the installed onnx knows."""
        check_opset(options)

    def write(
        self, model: nn.Module, inputs: ExampleInputs, path: Path, options: FormatOptions
    ) -> Written:
        """Export to ONNX, and let OpenVINO read that and save it in full precision."""
        package = import_extra("openvino", "openvino")
        between = path.with_suffix(".onnx")
        written = write_onnx(model, inputs, between, options)
        try:
            # Not convert_model, which reports to its makers.
            read = core().read_model(between)
            for key, value in options.metadata.items():
                read.set_rt_info(value, ["accaware", key.removeprefix("accaware.")])
            package.save_model(read, path, compress_to_fp16=False)
            del read  # on some systems a file that is mapped can't be removed
        finally:
            between.unlink()
        return written

    def read(self, path: Path, model: nn.Module, inputs: ExampleInputs) -> LoadedModel:
        """The file in OpenVINO, with as many threads as torch has."""
        return runtime_model(runtime("openvino").load(path, torch.get_num_threads()))
