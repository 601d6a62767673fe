"""A model exported to a file, in an inference runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from accaware.pytorch.export.export import FORMATS, export_model, files_of
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.runtimes import Inputs, Runtime
from accaware.runtimes.memory import peak_memory

FORMAT_OF = {"onnxruntime": "onnx", "openvino": "openvino"}
"""What each runtime is given, the runtime first that is taken where nobody chose."""


class ExportedSubject:
    """A model that is exported to a file, and run from there by a runtime.

    Args:
        model: on the CPU, as are its inputs.
        path: of the file to export it to, without a suffix.
        threads: of one forward.

    Raises:
        UsageError: a package that exporting needs isn't installed.
        RunError: the model can't be exported.
    """

    def __init__(
        self, model: nn.Module, inputs: ExampleInputs, runtime: Runtime, path: Path, threads: int
    ) -> None:
        kind = FORMATS[FORMAT_OF[runtime.name]]
        path = path.with_suffix(kind.suffix)
        # Runtimes are fastest where they know all sizes.
        export_model(model, inputs, path, format=kind.name, dynamic_batch=False)
        self.file_size = sum(file.stat().st_size for file in files_of(path, kind))
        self._path = path
        self._runtime = runtime
        self._threads = threads
        self._inputs: Inputs = {at: each.numpy() for at, each in enumerate(inputs.tensors())}
        self._session = runtime.load(path, threads)

    def forward(self) -> object:
        """One run in the runtime, on the example inputs."""
        return self._session.run(self._inputs)

    def peak_memory(self) -> int | None:
        """What loading it and one forward add to a process of its own."""
        return peak_memory(self._runtime, self._path, self._threads, self._inputs)

    def convolutions(self) -> Mapping[str, int]:
        """How many convolutions ran in each precision, by the runtime's profile."""
        kernels = self._session.profile(self._inputs)
        return Counter(kernel.precision for kernel in kernels if kernel.convolves)
