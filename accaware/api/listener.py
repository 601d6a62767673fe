"""Who hears of what happens while a function works: whoever reads the terminal, or a script."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import accaware
from accaware.config.load import ConfigWarning
from accaware.errors import AccAwareWarning, Diagnostic
from accaware.report.activity_bar import Tell
from accaware.report.console import Progress, console_on, is_seen
from accaware.report.run_console import RunConsole
from accaware.report.summary import Summary

_OURS = str(Path(accaware.__file__).parent)


class RunListener(Protocol):
    """Is told of progress and warnings, and knows how its caller asks for things."""

    def activity(self) -> AbstractContextManager[Tell]:
        """What is told how far a work is, while it is entered."""

    def progress(self, metric_name: str) -> Progress | None:
        """An observer that draws a search; None where nobody wants to see it."""

    def setting_up(self, directory: Path, resumed: bool) -> None:
        """The plugin is about to make its model."""

    def ready(self, device: str) -> None:
        """The search is about to begin."""

    def left_out(self, layers: Sequence[tuple[str, str]], all_in: Path) -> None:
        """Layers that aren't compressed, each with the reason."""

    def timing(self) -> None:
        """The best model is about to be timed."""

    def exporting(self, format: str) -> None:
        """The best model is about to be exported."""

    def found(self, report: Any, json: str) -> None:
        """What was found out, for rich to print, and as JSON."""

    def finished(self, summary: Summary, result_json: str) -> None:
        """The run has ended or was cut off; ``result_json`` is the text of its result.json."""

    def had_finished(self, path: Path) -> None:
        """There was nothing left to do: the run in ``path`` had ended before."""

    def took_part(self) -> None:
        """The run has ended; the first of several processes, which this one isn't, tells how."""

    def differs(self, differences: Sequence[str]) -> None:
        """What isn't as it was when the run began, and goes on all the same."""

    def warn(self, message: str) -> None:
        """Something that its caller should know."""

    def config_warning(self, diagnostic: Diagnostic) -> None:
        """The same of a config."""

    def option(self, name: str, value: Any = None) -> str:
        """An argument as its caller writes it; ``name`` is the function's."""

    def to_resume(self, path: Path) -> str:
        """How to go on with the run in ``path``: a line to copy."""

    def to_begin(self, path: Path) -> str:
        """How to begin a run whose directory is all there is of it."""

    def to_use_another_directory(self, path: Path) -> str:
        """What to do where a run's directory is taken."""

    def to_export(self, path: Path, format: str) -> str:
        """How to export the model of the run in ``path``: a line to copy."""

    def to_force(self) -> str:
        """How to go on where something has changed."""


class PythonListener(RunConsole):
    """A RunListener for scripts: draws on standard error or not at all, and warns as Python does.

    Args:
        progress: whether to draw; None draws where standard error is a terminal or a notebook.
    """

    def __init__(self, progress: bool | None) -> None:
        console = console_on(sys.stderr)
        super().__init__(console, quiet=not (is_seen(console) if progress is None else progress))

    def found(self, report: Any, json: str) -> None:
        """Whoever called has it."""

    def finished(self, summary: Summary, result_json: str) -> None:
        """The final table, where the search was drawn."""
        if not self._quiet:
            self._console.print(summary, crop=False)

    def took_part(self) -> None:
        """Whoever called gets the result."""

    def differs(self, differences: Sequence[str]) -> None:
        """A warning each."""
        for difference in differences:
            self.warn(f"changed: {difference}")

    def warn(self, message: str) -> None:
        """As an AccAwareWarning."""
        _warn(message, AccAwareWarning)

    def config_warning(self, diagnostic: Diagnostic) -> None:
        """As a ConfigWarning."""
        _warn(str(diagnostic), ConfigWarning)

    def option(self, name: str, value: Any = None) -> str:
        """``option=value``."""
        return f"{name}=" if value is None else f"{name}={value!r}"

    def to_resume(self, path: Path) -> str:
        """For people to copy."""
        return f"to go on: accaware.resume({str(path)!r})"

    def to_begin(self, path: Path) -> str:
        """How to begin a run whose directory is all there is of it."""
        return f"accaware.resume({str(path)!r}, config)"

    def to_use_another_directory(self, path: Path) -> str:
        """What to do where a run's directory is taken."""
        return f"go on with it by accaware.resume({str(path)!r}), or name another output_dir"

    def to_export(self, path: Path, format: str) -> str:
        """For people to copy."""
        return f"accaware.export({str(path)!r}, format={format!r})"

    def to_force(self) -> str:
        """How to go on where something has changed."""
        return "force=True"


def _warn(message: str, category: type[Warning]) -> None:
    """At the line that called accaware."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)
