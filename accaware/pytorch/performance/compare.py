"""A dense model against its compressed one: the door for models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from accaware import runtimes
from accaware.errors import MissingExtraError, UsageError
from accaware.pytorch.data.stopwatch import now
from accaware.pytorch.export.export import FORMATS
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.performance.exported_subject import FORMAT_OF, ExportedSubject
from accaware.pytorch.performance.torch_subject import TorchSubject
from accaware.pytorch.performance.turns import latencies
from accaware.pytorch.quantization.attach import is_quantized
from accaware.results.benchmark import Benchmark, Convolutions, Throughput
from accaware.results.latency import LatencyComparison
from accaware.results.sizes import Size

PYTORCH = "pytorch"

Report = Callable[[str, int, int], None]
"""What is done, how often it was, and how often it will be."""


def quiet(what: str, done: int, total: int) -> None:
    """Reports to nobody."""


class Subject(Protocol):
    """A model in a runtime, with its inputs."""

    def forward(self) -> object:
        """Run once, which is what is timed."""

    @property
    def file_size(self) -> int:
        """Bytes."""

    def peak_memory(self) -> int | None:
        """Bytes; None where this system doesn't tell."""

    def convolutions(self) -> Mapping[str, int] | None:
        """How many ran in each precision; None where there is no profile."""


@dataclass(frozen=True)
class Comparison:
    """How two models are compared.

    Args:
        runtime: pytorch, onnxruntime or openvino; None for the first of onnxruntime, openvino
            and pytorch that is installed.
        batch: samples of one forward.
        threads: of one forward on the CPU; None for as many as torch would take.
        seconds: to time each model for.
    """

    runtime: str | None = None
    batch: int = 1
    threads: int | None = None
    seconds: float = 2.0
    report: Report = quiet

    def __post_init__(self) -> None:
        for name in ("batch", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} {value} is below the minimum 1")
        known = (PYTORCH, *FORMAT_OF)
        if self.runtime not in (None, *known):
            raise UsageError(f"there is no runtime {self.runtime!r}; there is {', '.join(known)}")

    @property
    def chosen(self) -> str:
        """The runtime's name."""
        return self.runtime or next(filter(_usable, FORMAT_OF), PYTORCH)

    def whole(self, dense: nn.Module, compressed: nn.Module, inputs: ExampleInputs) -> Benchmark:
        """Time both models in turn, and weigh them. Neither is changed."""
        with self._prepared(dense, compressed, inputs) as pair:
            latency = self._timed(pair)
            self.report("measuring memory", 0, 2)
            before = pair.dense.peak_memory()
            self.report("measuring memory", 1, 2)
            after = pair.compressed.peak_memory()
            kernels = pair.dense.convolutions(), pair.compressed.convolutions()
            return Benchmark(
                model=type(dense).__name__,
                latency=latency,
                throughput=Throughput(
                    dense=self.batch / latency.dense.median,
                    compressed=self.batch / latency.compressed.median,
                ),
                file_size=Size(pair.dense.file_size, pair.compressed.file_size),
                peak_memory=None if before is None or after is None else Size(before, after),
                memory_of="tensors" if latency.runtime == PYTORCH else "process",
                convolutions=None
                if kernels[0] is None or kernels[1] is None
                else Convolutions(dense=kernels[0], compressed=kernels[1]),
            )

    def latency(
        self, dense: nn.Module, compressed: nn.Module, inputs: ExampleInputs
    ) -> LatencyComparison:
        """Time both models in turn. Neither is changed."""
        with self._prepared(dense, compressed, inputs) as pair:
            return self._timed(pair)

    @contextmanager
    def _prepared(
        self, dense: nn.Module, compressed: nn.Module, inputs: ExampleInputs
    ) -> Iterator[_Pair]:
        threads = self.threads or torch.get_num_threads()
        models = [copied(model).eval() for model in (dense, compressed)]
        inputs = inputs.mapped(partial(_repeated, times=self.batch))
        if self.chosen == PYTORCH:
            device = next((tensor.device for tensor in dense.parameters()), torch.device("cpu"))
            own, other = (TorchSubject(model, inputs) for model in models)
            with _threads_of_torch(threads):
                simulated = is_quantized(compressed)
                yield _Pair(own, other, torch.__version__, device, threads, simulated)
            return
        runtime = runtimes.runtime(self.chosen)
        device = torch.device("cpu")
        with tempfile.TemporaryDirectory(prefix="accaware-") as folder:
            exported: list[Subject] = []
            for name, model in zip(("dense", "compressed"), models, strict=True):
                self.report("exporting", len(exported), 2)
                path = Path(folder) / name
                exported.append(
                    ExportedSubject(model.to(device), inputs.on(device), runtime, path, threads)
                )
            yield _Pair(exported[0], exported[1], runtime.version, device, threads, False)

    def _timed(self, pair: _Pair) -> LatencyComparison:
        self.report("timing", 0, 1)
        dense, compressed = latencies(
            [pair.dense.forward, pair.compressed.forward], self.seconds, partial(now, pair.device)
        )
        return LatencyComparison(
            runtime=self.chosen,
            version=pair.version,
            device=str(pair.device),
            threads=pair.threads,
            batch=self.batch,
            simulated=pair.simulated,
            dense=dense,
            compressed=compressed,
        )


@dataclass(frozen=True)
class _Pair:
    """Both models in one runtime, ready to be measured."""

    dense: Subject
    compressed: Subject
    version: str
    device: torch.device
    threads: int
    simulated: bool


def benchmark(
    dense: nn.Module,
    compressed: nn.Module,
    example_inputs: Any,
    *,
    runtime: str | None = None,
    batch: int = 1,
    threads: int | None = None,
    seconds: float = 2.0,
) -> Benchmark:
    """Time a dense model and its compressed one in turn, and weigh them. Neither is changed.

    Inference runtimes run on the CPU, PyTorch on the models' device.

    Args:
        dense: the model as it was before.
        compressed: as ``load_compressed`` gives it.
        example_inputs: a tensor, a tuple of positional or a mapping of keyword arguments of the
            forward, batch first, on the models' device. Their first sample is what is run.
        runtime: pytorch, onnxruntime or openvino; None for the first of onnxruntime, openvino
            and pytorch that is installed.
        batch: samples of one forward.
        threads: of one forward on the CPU; None for as many as torch would take.
        seconds: to time each model for.

    Raises:
        UsageError: no such runtime, it isn't installed, or it can't run these models.
        RunError: a measurement failed.
    """
    comparison = Comparison(runtime, batch, threads, seconds)
    return comparison.whole(dense, compressed, ExampleInputs.of(example_inputs))


def _usable(runtime: str) -> bool:
    """Whether all that it needs is installed."""
    try:
        FORMATS[FORMAT_OF[runtime]].require()
    except MissingExtraError:
        return False
    return True


def _repeated(tensor: Tensor, times: int) -> Tensor:
    """The first sample, so many times."""
    return tensor[:1].repeat(times, *[1] * (tensor.dim() - 1)) if tensor.dim() else tensor


@contextmanager
def _threads_of_torch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
