"""report.html, once a run has ended, however it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accaware.api.listener import RunListener
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_reader import read_journal
from accaware.wording import first_line


@contextmanager
def final_report(directory: RunDirectory, listener: RunListener, *, wanted: bool) -> Iterator[None]:
    """On leaving, write it where there is something to show. That it can't be is but a warning."""
    try:
        yield
    finally:
        if wanted and directory.kept:
            write_final_report(directory, listener)


_LAST = ("search_finished", "run_stopped")
"""Events at the end of a journal. One that is interrupted while it is set up again has neither."""


def write_final_report(directory: RunDirectory, listener: RunListener) -> None:
    """Write it, of a run that has ended or was stopped."""
    try:
        from accaware.report.page.page import page_of
        from accaware.rundir.run_record import read_run

        if read_journal(directory.events)[-1].event in _LAST:
            write_text(directory.report, page_of(read_run(directory, ended=True)))
    except Exception as failure:  # noqa: BLE001 - what was found is no worse without it
        listener.warn(f"{directory.report.name} could not be written: {first_line(failure)}")
