"""``accaware report``: runs on a page that any browser opens."""

from __future__ import annotations

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
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The page; report.html if not given, of one run in RUN_DIR."
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show the run in RUN_DIR on a page: what it found, and how it came about.

    The page is one file that needs no network. It is made from what is in RUN_DIR, also of a run
    that is still going, was interrupted or has failed. Several runs are compared.

    With what `accaware benchmark` and `accaware inspect` print as JSON in RUN_DIR/benchmark.json
    and RUN_DIR/inspection.json, it shows these too.

    \b
    Examples:
      accaware report runs/config-1 --open
      accaware report runs/config-1 runs/config-2 --output both.html
    """
    raise typer.Exit(reported(partial(report, directories, output=output, open_it=open_it)))


def report(directories: list[Path], *, output: Path | None, open_it: bool) -> ExitCode:
    """Write the page, and say where it is.

    Raises:
        UsageError: a directory holds no run, or its files can't be read.
        OSError: a file can't be read or written.
    """
    from accaware.api.report import write_report

    page = write_report(*directories, output=output)
    print(page)
    if open_it:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())
    return ExitCode.WITHIN_BUDGET
