"""``accaware export``: a run's model to a file that ships."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from accaware.cli.conduct import how_to_resume
from accaware.cli.exit_codes import ExitCode
from accaware.cli.loading import LoadedConfig, Overrides
from accaware.errors import UsageError
from accaware.report.console import console_on
from accaware.report.tables import export_table
from accaware.results import strict_json
from accaware.rundir.directory import RunDirectory
from accaware.rundir.manifest import Manifest
from accaware.rundir.result_file import read_result


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The words behind ``accaware export``; None where they weren't said."""

    directory: Path
    format: str
    output: Path | None = None
    opset: int | None = None
    dynamic_batch: bool | None = None
    device: str | None = None
    json: bool = False


def export(options: ExportOptions) -> ExitCode:
    """Make the plugin's model and data again, load the run's model, write it, check it.

    Raises:
        UsageError: in the options, or the run has no model.
        PluginFailure: the user's code raised.
        RunError: the model can't be exported, or the file computes something else.
        OSError: the file can't be written.
    """
    directory = RunDirectory.open(options.directory)
    directory.check_has_model()
    outcome = read_result(directory.result)
    best = None if outcome is None else outcome.result.best
    if best is None:
        raise UsageError(
            f"{directory.path}: the run has no result yet; {how_to_resume(directory.path)}"
        )
    loaded = LoadedConfig(directory.config, Overrides(device=options.device))
    config = loaded.config
    manifest = Manifest.read(directory.manifest)
    console = console_on(sys.stderr if options.json else sys.stdout)
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        plugin = loaded.plugin()
        # Imports torch, which takes seconds: only now that everything else is in order.
        from accaware.pytorch.export.checked import CheckedExport, default_path, metadata_of
        from accaware.pytorch.export.export import checked_format
        from accaware.pytorch.export.formats import ExportOptions as FormatOptions
        from accaware.pytorch.model.device import named_device
        from accaware.pytorch.training.finished_run import FinishedRun

        path = options.output or default_path(directory.exports, options.format)
        # Before a model is made, which may take long.
        checked_format(
            options.format,
            path,
            FormatOptions(opset=options.opset, dynamic_batch=options.dynamic_batch),
        )
        run = FinishedRun.load(config, plugin, directory.model, named_device(config.device))
        metadata = metadata_of(manifest.config, best)
        exporting = CheckedExport(run.task, run.compressed, run.inputs, metadata)
        made = exporting.write(
            path,
            format=options.format,
            opset=options.opset,
            dynamic_batch=options.dynamic_batch,
        )
    if options.json:
        print(strict_json.document(made), end="")
    else:
        console.print(export_table([made]), crop=False)
    return ExitCode.WITHIN_BUDGET
