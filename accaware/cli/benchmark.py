"""``accaware benchmark``: a run's model against the dense one."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from accaware import runtimes
from accaware.cli.exit_codes import ExitCode
from accaware.cli.loading import LoadedConfig, Overrides
from accaware.errors import RunError, UsageError
from accaware.report.activity_bar import Working
from accaware.report.benchmark import BenchmarkReport
from accaware.report.console import console_on
from accaware.rundir.directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The words behind ``accaware benchmark``; None where they weren't said."""

    directory: Path
    runtime: str | None = None
    batch: int = 1
    threads: int | None = None
    device: str | None = None
    json: bool = False

    def check(self) -> None:
        """
        Raises:
            UsageError: a number is too small, the runtime isn't installed, or not for the device.
        """
        for name, number in (("batch", self.batch), ("threads", self.threads)):
            if number is not None and number < 1:
                raise UsageError(f"--{name} {number} is below the minimum 1")
        if self.runtime not in (None, "pytorch"):
            runtimes.runtime(self.runtime)
            if self.device not in (None, "auto", "cpu"):
                raise UsageError(
                    f"--runtime {self.runtime} computes on the CPU: leave out --device "
                    f"{self.device}, or take --runtime pytorch"
                )


def benchmark(options: BenchmarkOptions) -> ExitCode:
    """Build the dense model, load the run's, compare them, and print it.

    Raises:
        UsageError: in the options, or the run has no model.
        PluginFailure: the user's code raised.
        RunError: a model can't be exported.
    """
    options.check()
    directory = RunDirectory.open(options.directory)
    directory.check_has_model()
    loaded = LoadedConfig(directory.config, Overrides(device=options.device))
    config = loaded.config
    console = console_on(sys.stderr if options.json else sys.stdout)
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        plugin = loaded.plugin()
        # Imports torch, which takes seconds: only now that everything else is in order.
        from accaware.pytorch.performance.compare import PYTORCH, Comparison
        from accaware.pytorch.performance.run import benchmark_run

        with Working(console_on(sys.stderr)) as working:
            comparison = Comparison(
                options.runtime, options.batch, options.threads, report=working.tell
            )
            try:
                found = benchmark_run(config, plugin, directory.model, comparison)
            except RunError as error:
                if comparison.chosen != PYTORCH:
                    error.add_note("PyTorch itself needs no export: --runtime pytorch")
                raise
    if options.json:
        print(found.to_json(), end="")
    else:
        console.print(BenchmarkReport(found), crop=False)
    return ExitCode.WITHIN_BUDGET
