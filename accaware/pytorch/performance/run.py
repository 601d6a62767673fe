"""The model of a finished run against the plugin's dense one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from accaware.config.model.config import RunConfig
from accaware.errors import RunError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.model.device import named_device
from accaware.pytorch.performance.compare import PYTORCH, Comparison
from accaware.pytorch.training.finished_run import FinishedRun
from accaware.results.benchmark import Benchmark
from accaware.results.sizes import Size


def benchmark_run(
    config: RunConfig, plugin: Plugin, path: Path, comparison: Comparison
) -> Benchmark:
    """Compare the model in ``path`` with the one that the plugin makes.

    Raises:
        UsageError: a device or runtime that isn't there; a model that can't be exported.
        CheckpointError: the file can't be read, or is another model's.
        PluginContractError: a function returned something else than it should.
        PluginFailure: a function raised.
        RunError: the device is out of memory, or a measurement failed.
    """
    in_torch = comparison.chosen == PYTORCH
    device = named_device(config.device) if in_torch else torch.device("cpu")
    try:
        run = FinishedRun.load(config, plugin, path, device)
        found = comparison.whole(run.task.model, run.compressed, run.inputs)
    except torch.OutOfMemoryError as error:
        raise RunError(f"the device is out of memory: {error}") from error
    if in_torch:
        # The file that is there says beside the weights which channels they are of.
        found = replace(found, file_size=Size(found.file_size.dense, path.stat().st_size))
    return found
