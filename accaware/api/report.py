"""Runs to a page that any browser shows."""

from __future__ import annotations

from pathlib import Path

from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory


def write_report(*directories: str | Path, output: str | Path | None = None) -> Path:
    """Write one HTML file that shows runs: also such that go on, were interrupted or have failed.

    Several are compared: their Pareto fronts come first, and then each of them.

    It has all that it needs inside, so that it works anywhere, without a network. Nothing else is
    changed, and nothing of the plugin is imported.

    Args:
        directories: of the runs, one at least.
        output: the file; None for report.html, in the run's directory if it is one.

    Returns:
        The file.

    Raises:
        UsageError: a directory holds no run, or its files can't be read.
        OSError: a file can't be read or written.
    """
    from accaware.report.page.page import page_of, page_of_several
    from accaware.rundir.run_record import read_run

    there = [RunDirectory.open(Path(directory)) for directory in directories]
    runs = [read_run(each) for each in there]
    if len(runs) == 1:
        target, text = there[0].report, page_of(runs[0])
    else:
        target, text = Path("report.html"), page_of_several(runs)
    target = target if output is None else Path(output)
    write_text(target, text)
    return target
