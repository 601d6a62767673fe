"""``accaware doctor``: whether this machine has what is needed, and whether that works."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode


def command(
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what is installed here, whether it fits together, and whether it works.

    Versions, extras, devices, inference runtimes, free memory and disk; and a self-test, which
    prunes a small model on each device and checks what it computes, in ten seconds at the most.

    What it prints belongs into a bug report: there is no path and no name of yours in it.

    \b
    Exit codes:
      0    all that is needed fits, and the self-test has passed
      1    something doesn't
    """
    raise typer.Exit(reported(partial(doctor, json=json)))


def doctor(*, json: bool) -> ExitCode:
    """Look, and print it."""
    from accaware.api.doctor import doctor as look
    from accaware.report.diagnosis import diagnosis_lines

    found = look()
    print(found.to_json() if json else "\n".join(diagnosis_lines(found)) + "\n", end="")
    return ExitCode.WITHIN_BUDGET if found.well else ExitCode.FAILED
