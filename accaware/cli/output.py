"""Who reads what: people the console, programs standard output where they ask for JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

from accaware.report.console import Progress, console_on, progress_on
from accaware.report.summary import Summary
from accaware.report.tables import left_out_table


class Output:
    """Where a run's words go.

    With ``json`` standard output carries result.json and nothing else; all that people read goes
    to standard error. ``quiet`` leaves out everything up to the final table.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self._json: TextIO | None = sys.stdout if json else None
        self._quiet = quiet
        self._console = console_on(sys.stderr if json else sys.stdout)

    @contextmanager
    def guarding_stdout(self) -> Iterator[None]:
        """Keep what plugins print out of the JSON."""
        if self._json is None:
            yield
            return
        with redirect_stdout(sys.stderr):
            yield

    def progress(self, metric_name: str) -> Progress | None:
        return None if self._quiet else progress_on(self._console, metric_name)

    def setting_up(self, directory: Path, resumed: bool) -> None:
        """Said first: a plugin may take minutes to make its model and to validate it."""
        self._say(f"Run directory: {directory}")
        if resumed:
            self._say("Going on from the last finished epoch: setting up the model, its data ...")
        else:
            self._say("Setting up: the model, its data, its baseline ...")

    def ready(self, device: str) -> None:
        self._say(f"Training on {device}")

    def timing(self) -> None:
        """Said before the best model is exported and timed, which takes a few seconds."""
        self._say("Timing the best model ...")

    def exporting(self, format: str) -> None:
        """Said before the best model is exported, and its file run on the validation data."""
        self._say(f"Exporting the best model to {format} ...")

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def left_out(self, layers: Sequence[tuple[str, str]], all_in: Path) -> None:
        if layers and not self._quiet:
            self._console.print(left_out_table(layers, all_in), crop=False)

    def finished(self, summary: Summary, result_json: str) -> None:
        # The JSON is the final word by itself where everything else was asked to be quiet.
        if self._json is None or not self._quiet:
            self._console.print(summary, crop=False)
        if self._json is not None:
            self._json.write(result_json)
            self._json.flush()

    def differs(self, differences: Sequence[str]) -> None:
        """What isn't as it was when the run began, and goes on all the same."""
        for difference in differences:
            print(f"changed: {difference}", file=sys.stderr)

    def warn(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr)
