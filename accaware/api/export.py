"""A run's model to a file that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accaware.api.listener import PythonListener, RunListener
from accaware.api.loading import LoadedConfig, check_plugin_is_there
from accaware.api.overrides import Overrides
from accaware.errors import UsageError
from accaware.report.tables import export_table
from accaware.results.exports import ExportInfo
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest
from accaware.rundir.result_file import read_result


def export(
    directory: str | Path,
    *,
    format: str = "onnx",
    path: str | Path | None = None,
    opset: int | None = None,
    dynamic_batch: bool | None = None,
    plugin: Any = None,
    device: str | None = None,
    listener: RunListener | None = None,
) -> ExportInfo:
    """Write the model of a run to a file for deployment, and check the file.

    The plugin's model and data are made again, and the file is run on the validation data.

    Args:
        directory: of the run.
        format: onnx, openvino, torch-export or state-dict.
        path: of the file; None for one in the run's own exports/.
        opset: of ONNX, for onnx and openvino; None for 21.
        dynamic_batch: whether it takes batches of any size; None where the model can.
        plugin: to be handed over again, where ``run`` was handed a module, an object or a class.
        device: where the plugin makes and validates its model, in place of the run's.
        listener: told all that the command says, in place of warnings.

    Raises:
        UsageError: in the arguments, or the run has no model.
        PluginFailure: the plugin raised.
        RunError: the model can't be exported, or the file computes something else; nothing is
            left under its name.
        OSError: the file can't be written.
    """
    listener = listener or PythonListener(progress=False)
    there = RunDirectory.open(Path(directory))
    there.check_has_model()
    outcome = read_result(there.result)
    best = None if outcome is None else outcome.result.best
    if best is None:
        hint = listener.to_resume(there.path)
        raise UsageError(f"{there.path}: the run has no result yet; {hint}")
    changes = Overrides(plugin=plugin, device=device)
    loaded = LoadedConfig(there.config, changes, listener)
    manifest = Manifest.read(there.manifest)
    check_plugin_is_there(there, changes, "export")
    users = loaded.plugin()
    # Imports torch, which takes seconds: only now that everything else is in order.
    from accaware.pytorch.export.checked import CheckedExport, default_path, metadata_of
    from accaware.pytorch.export.export import checked_format
    from accaware.pytorch.export.formats.format import FormatOptions
    from accaware.pytorch.model.device import named_device
    from accaware.pytorch.training.finished_run import FinishedRun

    target = default_path(there.exports, format) if path is None else Path(path)
    # Before a model is made, which may take long.
    checked_format(format, target, FormatOptions(opset=opset, dynamic_batch=dynamic_batch))
    run = FinishedRun.load(loaded.config, users, there.model, named_device(loaded.config.device))
    exporting = CheckedExport(
        run.task, run.compressed, run.inputs, metadata_of(manifest.config, best)
    )
    made = exporting.write(target, format=format, opset=opset, dynamic_batch=dynamic_batch)
    listener.found(export_table([made]), made.to_json())
    return made
