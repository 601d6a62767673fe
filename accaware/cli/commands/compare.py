"""``accaware compare``: runs side by side."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode


def command(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_DIR...", help="Directories of runs.", autocompletion=completion.runs
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Compare runs: what each has lost and saved. Nothing in their directories is changed.

    The JSON also names the runs on the Pareto fronts of metric against FLOPs, parameters, latency
    and file size.

    \b
    Examples:
      accaware compare runs/config-1 runs/config-2
      accaware compare runs/* --json
    """
    raise typer.Exit(reported(partial(compare, directories, json=json)))


def compare(directories: list[Path], *, json: bool) -> ExitCode:
    """Print a row a run.

    Raises:
        UsageError: a directory holds no run, or its files can't be read.
        OSError: a file can't be read.
    """
    from accaware.api.compare import compare as compare_runs

    found = compare_runs(*directories)
    if json:
        print(found.to_json(), end="")
    else:
        from accaware.report.console import console_on
        from accaware.report.tables import comparison_table

        console_on(sys.stdout).print(comparison_table(found), crop=False)
    return ExitCode.WITHIN_BUDGET
