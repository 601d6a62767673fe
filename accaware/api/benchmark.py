"""A run's model against the dense one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accaware import runtimes
from accaware.api.listener import PythonListener, RunListener
from accaware.api.loading import LoadedConfig, check_plugin_is_there
from accaware.api.overrides import Overrides
from accaware.errors import RunError, UsageError
from accaware.report.benchmark import BenchmarkReport
from accaware.results.benchmark import Benchmark
from accaware.rundir.directory import RunDirectory


def benchmark(
    directory: str | Path,
    *,
    runtime: str | None = None,
    batch: int = 1,
    threads: int | None = None,
    device: str | None = None,
    plugin: Any = None,
    progress: bool | None = None,
    listener: RunListener | None = None,
) -> Benchmark:
    """Time the model of a run against the dense one, which the plugin makes again.

    Args:
        directory: of the run.
        runtime: pytorch, onnxruntime or openvino; None for the first of onnxruntime, openvino
            and pytorch that is installed.
        batch: samples of one forward.
        threads: of one forward on the CPU; None for as many as torch takes.
        device: where pytorch computes, in place of the run's.
        plugin: to be handed over again, where ``run`` was handed a module, an object or a class.
        progress: draw a bar on standard error; None does where that is a terminal or a notebook.
        listener: told all that the command says, in place of what is drawn and of warnings.

    Raises:
        UsageError: in the arguments, or the run has no model.
        PluginFailure: the plugin raised.
        RunError: a model can't be exported, or the device is out of memory.
    """
    listener = listener or PythonListener(progress)
    _check(runtime, batch, threads, device, listener)
    there = RunDirectory.open(Path(directory))
    there.check_has_model()
    changes = Overrides(plugin=plugin, device=device)
    loaded = LoadedConfig(there.config, changes, listener)
    check_plugin_is_there(there, changes, "benchmark")
    users = loaded.plugin()
    # Imports torch, which takes seconds: only now that everything else is in order.
    from accaware.pytorch.performance.compare import PYTORCH, Comparison
    from accaware.pytorch.performance.run import benchmark_run

    with listener.activity() as tell:
        comparison = Comparison(runtime, batch, threads, report=tell)
        try:
            found = benchmark_run(loaded.config, users, there.model, comparison)
        except RunError as error:
            if comparison.chosen != PYTORCH:
                instead = listener.option("runtime", PYTORCH)
                error.add_note(f"PyTorch itself needs no export: {instead}")
            raise
    listener.found(BenchmarkReport(found), found.to_json())
    return found


def _check(
    runtime: str | None,
    batch: int,
    threads: int | None,
    device: str | None,
    listener: RunListener,
) -> None:
    """See that the arguments go together.

    Raises:
        UsageError: a number is too small, the runtime isn't installed, or not for the device.
    """
    for name, number in (("batch", batch), ("threads", threads)):
        if number is not None and number < 1:
            raise UsageError(f"{listener.option(name, number)} is below the minimum 1")
    if runtime is not None and runtime != "pytorch":
        runtimes.runtime(runtime)
        if device not in (None, "auto", "cpu"):
            own, other = listener.option("runtime", runtime), listener.option("device", device)
            raise UsageError(
                f"{own} computes on the CPU: leave out {other}, or take "
                f"{listener.option('runtime', 'pytorch')}"
            )
