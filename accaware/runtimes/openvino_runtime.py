"""OpenVINO: its own files and ONNX files, on the CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accaware.errors import UsageError
from accaware.extras import import_extra
from accaware.runtimes.runtime import Inputs, Kernel, by_name

if TYPE_CHECKING:
    from accaware.runtimes.runtime import Array

_PRECISIONS = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "u8": "int8",
    "i32": "int32",
    "i64": "int64",
}


@cache
def core() -> Any:
    """OpenVINO's Core, the same one always.

    On processors with AMX its CPU plugin gives the thread a stack for signal handlers and, where
    several plugins are freed in another order, leaves it with one that is gone: the next signal
    (Ctrl-C, a data loader's worker that ends) would kill the process.

    Raises:
        MissingExtraError: it isn't installed.
    """
    return import_extra("openvino", "openvino").Core()


class OpenVINORuntime:
    """Runs ONNX files and its own by OpenVINO.

    Raises:
        MissingExtraError: it isn't installed.
    """

    name = "openvino"

    def __init__(self) -> None:
        self._package = import_extra("openvino", "openvino")

    @property
    def version(self) -> str:
        """The installed package's version, without the build that follows it."""
        return str(self._package.__version__).split("-")[0]

    def load(self, path: Path, threads: int) -> OpenVINOSession:
        """An ONNX file or an OpenVINO one, compiled for the CPU; see :class:`Runtime`."""
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        return OpenVINOSession(path, threads)


class OpenVINOSession:
    """A file that OpenVINO compiled for the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads
        compiled = self._compiled()
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self.input_names = tuple(each.get_any_name() for each in compiled.inputs)
        self._request = compiled.create_infer_request()

    def run(self, inputs: Inputs) -> list[Array]:
        """The outputs as arrays, in the file's order."""
        return _inferred(self._request, by_name(inputs, self.input_names))

    def profile(self, inputs: Inputs) -> list[Kernel]:
        """The nodes that a second run executed, from a compilation that counts them."""
        request = self._compiled(PERF_COUNT=True).create_infer_request()
        named = by_name(inputs, self.input_names)
        for _ in range(2):  # the first run pays for what is made once
            _inferred(request, named)
        return [_kernel(each) for each in request.profiling_info if each.status.name == "EXECUTED"]

    def _compiled(self, **properties: Any) -> Any:
        try:
            # Not convert_model, which reports to its makers.
            model = core().read_model(self._path)
            return core().compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": self._threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    # On processors that have bfloat16 it would compute floats in that.
                    "INFERENCE_PRECISION_HINT": "f32",
                    **properties,
                },
            )
        except RuntimeError as error:
            raise UsageError(f"{self._path}: OpenVINO can't load it: {error}") from error


def _inferred(request: Any, inputs: dict[str, Any]) -> list[Array]:
    outputs: list[Array] = list(request.infer(inputs).to_tuple())
    return outputs


def _kernel(info: Any) -> Kernel:
    # The kernel's name ends in its precision: brgconv_avx512_amx_i8.
    precision = info.exec_type.rpartition("_")[2].lower()
    return Kernel(
        name=info.node_name,
        operator=info.node_type,
        precision=_PRECISIONS.get(precision, precision),
        seconds=info.real_time.total_seconds(),
    )
