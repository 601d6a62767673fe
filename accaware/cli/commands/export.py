"""``accaware export``: a run's model to a file that ships."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.options import Json, RunDir, device_option


class FormatName(str, Enum):
    """What is written."""

    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"
    OPENVINO = "openvino"
    STATE_DICT = "state-dict"


def command(
    directory: RunDir,
    form: Annotated[FormatName, typer.Option("--format", help="What to write.")] = FormatName.ONNX,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to; RUN_DIR/exports/model.SUFFIX if not given."),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of ONNX, for onnx and openvino; 21 if not given."),
    ] = None,
    dynamic_batch: Annotated[
        bool | None,
        typer.Option(
            "--dynamic-batch/--static-batch",
            help="Batches of any size, or of the example inputs' alone; if not given, of any "
            "size where the model can.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        device_option(
            "Where the plugin makes and validates its model; overrides the run's. What is "
            "exported runs on the CPU.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write the model of the run in RUN_DIR to a file for deployment, and check the file.

    Batch norms are folded into the layers before them, channels that were removed aren't there,
    and quantized weights are stored as 8-bit integers.

    The file is loaded again, by the runtime that it is for, and run on the validation data.
    Where its outputs or its metric aren't the model's, nothing is left under the file's name.

    \b
    Formats:
      onnx          for onnxruntime, TensorRT and others (accaware[onnx])
      openvino      model.xml and model.bin (accaware[openvino])
      torch-export  for torch.export.load
      state-dict    the compressed tensors under the model's own names, for torch.load

    \b
    Examples:
      accaware export runs/config-1
      accaware export runs/config-1 --format openvino --output build/model.xml
      accaware export runs/config-1 --opset 23 --static-batch
    """
    deed = partial(
        export,
        directory,
        format=form.value,
        path=output,
        opset=opset,
        dynamic_batch=dynamic_batch,
        device=device,
        json=json,
    )
    raise typer.Exit(reported(deed))


def export(directory: Path, *, json: bool = False, **arguments: Any) -> ExitCode:
    """Export, and print what was exported.

    Raises:
        AccAwareError: as ``accaware.export``, whose arguments it takes.
    """
    from accaware.api.export import export as export_run
    from accaware.cli.output import Output

    output = Output(json=json)
    with output.guarding_stdout():
        export_run(directory, listener=output, **arguments)
    return ExitCode.WITHIN_BUDGET
