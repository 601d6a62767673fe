"""Runs to a page that any browser shows."""

from __future__ import annotations

from pathlib import Path

from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory


def write_report(directory: str | Path, *, output: str | Path | None = None) -> Path:
    """Write one HTML file that shows a run: also one that goes on, was interrupted or has failed.

    It has all that it needs inside, so that it works anywhere, without a network. Nothing else is
    changed, and nothing of the plugin is imported.

    Args:
        directory: of the run.
        output: the file; None for report.html in the run's directory.

    Returns:
        The file.

    Raises:
        UsageError: there is no run, or its files can't be read.
        OSError: a file can't be read or written.
    """
    from accaware.report.page.page import page_of
    from accaware.rundir.run_record import read_run

    there = RunDirectory.open(Path(directory))
    target = there.report if output is None else Path(output)
    write_text(target, page_of(read_run(there)))
    return target
