"""What a run says to people while it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from accaware.report.activity_bar import Tell, Working
from accaware.report.console import Progress, progress_on
from accaware.report.tables import left_out_table


class RunConsole:
    """Says each stage of a run in a line, and draws its search; ``quiet`` says nothing."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet

    @contextmanager
    def activity(self) -> Iterator[Tell]:
        """What is told how far a work is, while it is entered: it moves a bar."""
        if self._quiet:
            yield lambda activity, done, total: None
            return
        with Working(self._console) as working:
            yield working.tell

    def progress(self, metric_name: str) -> Progress | None:
        """An observer that draws the search; None where it is to be quiet."""
        return None if self._quiet else progress_on(self._console, metric_name)

    def setting_up(self, directory: Path, resumed: bool) -> None:
        """Said first: a plugin may take minutes to make its model and to validate it."""
        self._say(f"Run directory: {directory}")
        if resumed:
            self._say("Going on from the last finished epoch: setting up the model, its data ...")
        else:
            self._say("Setting up: the model, its data, its baseline ...")

    def ready(self, device: str) -> None:
        """Said before the search begins."""
        self._say(f"Training on {device}")

    def timing(self) -> None:
        """Said before the best model is exported and timed, which takes a few seconds."""
        self._say("Timing the best model ...")

    def exporting(self, format: str) -> None:
        """Said before the best model is exported, and its file run on the validation data."""
        self._say(f"Exporting the best model to {format} ...")

    def had_finished(self, path: Path) -> None:
        """Said last, where there was nothing left to do."""
        self._say(f"The run in {path} had finished before")

    def left_out(self, layers: Sequence[tuple[str, str]], all_in: Path) -> None:
        """A table of layers that aren't compressed, each with the reason."""
        if layers and not self._quiet:
            self._console.print(left_out_table(layers, all_in), crop=False)

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
