"""``accaware validate-config``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from accaware.cli.exit_codes import ExitCode
from accaware.config.load import check_file
from accaware.report.diagnostics import diagnostic_line


def validate(paths: Iterable[Path]) -> ExitCode:
    """Print every fault of every file on standard output; warnings alone are no failure."""
    code = ExitCode.WITHIN_BUDGET
    for path in paths:
        diagnostics = check_file(path)
        for diagnostic in diagnostics:
            print(diagnostic_line(diagnostic))
        if any(diagnostic.severity == "error" for diagnostic in diagnostics):
            code = ExitCode.USAGE
        else:
            print(f"{path}: ok")
    return code
