"""Runs side by side."""

from __future__ import annotations

from pathlib import Path

from accaware.results.comparison import Comparison
from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_record import read_run


def compare(*directories: str | Path) -> Comparison:
    """Hold runs against each other: what was lost, what was saved, and which none of them beats.

    Of a run that hasn't ended it is what is best so far. Nothing is changed, and nothing of the
    plugins is imported.

    Raises:
        UsageError: a directory holds no run, or its files can't be read.
        OSError: a file can't be read.
    """
    runs = [read_run(RunDirectory.open(Path(directory))) for directory in directories]
    return Comparison([run.compared() for run in runs])
