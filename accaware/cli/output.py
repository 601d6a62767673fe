"""Who reads what: people the console, programs standard output where they ask for JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from rich.console import RenderableType

from accaware.cli.hints import how_to_resume
from accaware.errors import Diagnostic
from accaware.report.activity_bar import Tell, Working
from accaware.report.console import console_on
from accaware.report.diagnostics import diagnostic_line
from accaware.report.run_console import RunConsole
from accaware.report.summary import Summary


class Output(RunConsole):
    """Where a command's words go: a RunListener that speaks in options.

    With ``json`` standard output carries the JSON and nothing else; all that people read goes to
    standard error. ``quiet`` leaves out everything up to the final table.

    Attributes:
        is_told_elsewhere: what the run came to: it was told when the run ended, or it is by the
            first of several processes.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        super().__init__(console_on(sys.stderr if json else sys.stdout), quiet=quiet)
        self._json: TextIO | None = sys.stdout if json else None
        self.is_told_elsewhere = False

    @contextmanager
    def guarding_stdout(self) -> Iterator[None]:
        """Keep what plugins print out of the JSON."""
        if self._json is None:
            yield
            return
        with redirect_stdout(sys.stderr):
            yield

    # What a command adds to RunConsole as a listener ------------------------------------------

    @contextmanager
    def activity(self) -> Iterator[Tell]:
        """Like RunConsole's, on standard error: the result alone goes to standard output."""
        with Working(console_on(sys.stderr)) as working:
            yield working.tell

    def found(self, report: RenderableType, json: str) -> None:
        """What was found out, in the form that was asked for."""
        if self._json is None:
            self._console.print(report, crop=False)
        else:
            self._json.write(json)
            self._json.flush()

    def finished(self, summary: Summary, result_json: str) -> None:
        """The final table, or the JSON."""
        # The JSON is the final word by itself where everything else was asked to be quiet.
        if self._json is None or not self._quiet:
            self._console.print(summary, crop=False)
        if self._json is not None:
            self._json.write(result_json)
            self._json.flush()

    def next_steps(self, lines: Sequence[str]) -> None:
        """The very last: commands for people to copy, whole however narrow the screen."""
        if lines and self._json is None:
            self._say("")
            for line in lines:
                self._say(line)

    def had_finished(self, path: Path) -> None:
        """A line; the exit code says no more of it."""
        super().had_finished(path)
        self.is_told_elsewhere = True

    def took_part(self) -> None:
        """What it came to is for the first process's exit code to tell, once."""
        self.is_told_elsewhere = True

    def differs(self, differences: Sequence[str]) -> None:
        """What isn't as it was when the run began, and goes on all the same."""
        for difference in differences:
            print(f"changed: {difference}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """A line on standard error."""
        print(f"warning: {message}", file=sys.stderr)

    def config_warning(self, diagnostic: Diagnostic) -> None:
        """A line on standard error, with the place."""
        print(diagnostic_line(diagnostic), file=sys.stderr)

    def option(self, name: str, value: Any = None) -> str:
        """``--option VALUE``."""
        word = f"--{name.replace('_', '-')}"
        return word if value is None else f"{word} {value}"

    def to_resume(self, path: Path) -> str:
        """For people to copy."""
        return how_to_resume(path)

    def to_begin(self, path: Path) -> str:
        """How to begin a run whose directory is all there is of it."""
        return f"accaware run CONFIG --resume {path}"

    def to_use_another_directory(self, path: Path) -> str:
        """What to do where a run's directory is taken."""
        return f"go on with it by --resume {path}, or name another directory with --output-dir"

    def to_export(self, path: Path, format: str) -> str:
        """For people to copy."""
        return f"accaware export {shlex.quote(str(path))} --format {format}"

    def to_force(self) -> str:
        """How to go on where something has changed."""
        return "--force"
