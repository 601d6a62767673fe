"""onnxruntime: ONNX files on the CPU."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accaware.errors import UsageError
from accaware.extras import import_extra
from accaware.runtimes.runtime import Inputs, Kernel, by_name

if TYPE_CHECKING:
    from accaware.runtimes.runtime import Array

_PRECISIONS = {
    "float": "float32",
    "double": "float64",
    "uint8": "int8",  # the sign is no matter of speed
}


class OnnxRuntime:
    """Runs ONNX files by onnxruntime.

    Raises:
        MissingExtraError: it isn't installed.
    """

    name = "onnxruntime"

    def __init__(self) -> None:
        self._package = import_extra("onnxruntime", "onnx")

    @property
    def version(self) -> str:
        """The installed package's version."""
        return str(self._package.__version__)

    def load(self, path: Path, threads: int) -> OnnxSession:
        """An ONNX file, opened on the CPU; see :class:`Runtime`."""
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        return OnnxSession(self._package, path, threads)


class OnnxSession:
    """An ONNX file that onnxruntime holds open."""

    def __init__(self, package: Any, path: Path, threads: int) -> None:
        self._package = package
        self._path = path
        self._threads = threads
        self._session = self._opened(self._options())
        self.input_names = tuple(each.name for each in self._session.get_inputs())

    @property
    def threads(self) -> int:
        """That one operator may use, by the session's own options."""
        return int(self._session.get_session_options().intra_op_num_threads)

    def run(self, inputs: Inputs) -> list[Array]:
        """The outputs as arrays, in the file's order."""
        outputs: list[Array] = self._session.run(None, by_name(inputs, self.input_names))
        return outputs

    def profile(self, inputs: Inputs) -> list[Kernel]:
        """The kernels of a second run, in a session of its own that profiles."""
        with tempfile.TemporaryDirectory(prefix="accaware-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            # Profiling is a matter of a session's making, and slows it down: it has its own.
            session = self._opened(options)
            named = by_name(inputs, self.input_names)
            for _ in range(2):
                session.run(None, named)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        nodes = [event for event in events if event.get("cat") == "Node"]
        kernels = [event for event in nodes if event["name"].endswith("_kernel_time")]
        # The first run pays for what is allocated once.
        return [_kernel(event) for event in kernels[len(kernels) // 2 :]]

    def _options(self) -> Any:
        options = self._package.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait busily for this model's next run would take the time of another's.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _opened(self, options: Any) -> Any:
        try:
            return self._package.InferenceSession(
                str(self._path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no root that it makes public
            raise UsageError(f"{self._path}: onnxruntime can't load it: {error}") from error


def _kernel(event: dict[str, Any]) -> Kernel:
    arguments = event["args"]
    shapes = arguments["input_type_shape"] or arguments["output_type_shape"]
    kind = next((kind for shape in shapes for kind in shape), "unknown")
    return Kernel(
        name=event["name"].removesuffix("_kernel_time"),
        operator=arguments["op_name"],
        precision=_PRECISIONS.get(kind, kind),
        seconds=event["dur"] / 1e6,
    )
