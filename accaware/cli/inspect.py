"""``accaware inspect``: what a run would compress, and what it would cost, without a run."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from accaware.cli.exit_codes import ExitCode
from accaware.cli.loading import LoadedConfig, Overrides
from accaware.errors import UsageError
from accaware.report.activity_bar import Working
from accaware.report.console import console_on
from accaware.report.inspection import InspectionReport
from accaware.results import strict_json


@dataclass(frozen=True, kw_only=True)
class InspectOptions(Overrides):
    """The words behind ``accaware inspect``; None where they weren't said."""

    config: Path
    samples: int | None = None
    json: bool = False


def inspect(options: InspectOptions) -> ExitCode:
    """Load the config and the plugin, find out, and print it. Nothing is written to disk.

    Raises:
        UsageError: in the options, the config, the plugin or the model.
        PluginFailure: the user's code raised.
    """
    if options.samples is not None and options.samples < 1:
        raise UsageError(f"--samples {options.samples} is below the minimum 1")
    loaded = LoadedConfig(options.config, options)
    config = loaded.config
    console = console_on(sys.stderr if options.json else sys.stdout)
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        plugin = loaded.plugin()
        # Imports torch, which takes seconds: only now that everything else is in order.
        from accaware.pytorch.inspection import inspect as inspect_model

        with Working(console_on(sys.stderr)) as working:
            found = inspect_model(config, plugin, samples=options.samples, report=working.tell)
    if options.json:
        print(strict_json.document(found), end="")
    else:
        report = InspectionReport(found, config.metric.name, config.higher_is_better)
        console.print(report, crop=False)
    return ExitCode.WITHIN_BUDGET
