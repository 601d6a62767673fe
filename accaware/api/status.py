"""Where a run stands."""

from __future__ import annotations

from pathlib import Path

from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_status import RunStatus, standing


def status(directory: str | Path) -> RunStatus:
    """Tell where the run in ``directory`` stands: its trials, the best of them, its state.

    Nothing is changed, and nothing of the plugin is imported.

    Raises:
        UsageError: there is no run, or its files can't be read.
        OSError: a file can't be read.
    """
    return standing(RunDirectory.open(Path(directory)))
