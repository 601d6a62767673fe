"""``accaware benchmark``: a run's model against the dense one."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.options import Json, RunDir, device_option


class RuntimeName(str, Enum):
    """What runs the models."""

    PYTORCH = "pytorch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


def command(
    directory: RunDir,
    runtime: Annotated[
        RuntimeName | None,
        typer.Option(
            help="What runs the models; if not given, the first of onnxruntime, openvino and "
            "pytorch that is installed."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Samples of one forward.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="CPU threads of one forward; as many as torch takes if not given."
        ),
    ] = None,
    device: Annotated[
        str | None,
        device_option(
            "Where pytorch computes; overrides the run's. The other runtimes use the CPU.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Time the model of the run in RUN_DIR against the dense one. Nothing in it is changed.

    Both are loaded by the same runtime and take turns, dense, compressed, dense, compressed:
    median latency, the quartiles around it, throughput, the size of the file that is loaded, peak
    memory, and in which precision the convolutions really ran. Memory is what loading and running
    a model adds to a process of its own; in pytorch, the tensors that are alive at once.

    PyTorch only simulates 8-bit integers, in floats: how fast a quantized model is, onnxruntime
    and openvino tell.

    \b
    Examples:
      accaware benchmark runs/config-1
      accaware benchmark runs/config-1 --runtime openvino --batch 8 --threads 4
      accaware benchmark runs/config-1 --json > benchmark.json
    """
    deed = partial(
        benchmark,
        directory,
        runtime=runtime.value if runtime else None,
        batch=batch,
        threads=threads,
        device=device,
        json=json,
    )
    raise typer.Exit(reported(deed))


def benchmark(directory: Path, *, json: bool = False, **arguments: Any) -> ExitCode:
    """Compare, and print it.

    Raises:
        AccAwareError: as ``accaware.benchmark``, whose arguments it takes.
    """
    from accaware.api.benchmark import benchmark as benchmark_run
    from accaware.cli.output import Output

    output = Output(json=json)
    with output.guarding_stdout():
        benchmark_run(directory, listener=output, **arguments)
    return ExitCode.WITHIN_BUDGET
