"""What ``accaware validate-config`` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from accaware.cli.exit_codes import ExitCode
from accaware.config.load import Outcome, examine_bytes, examine_file
from accaware.config.text.source import LARGEST
from accaware.errors import Diagnostic, MissingExtraError, UsageError
from accaware.report.diagnostics import diagnostics_json, diagnostics_text, github_annotation

_STANDARD_INPUT = Path("-")
_ITS_NAME = "<stdin>"


@dataclass(frozen=True, kw_only=True)
class ValidateOptions:
    """What is asked of it; ``format`` is text, json or github."""

    configs: Sequence[Path]
    settings: Sequence[str] = ()
    format: str = "text"
    resolved: bool = False
    check_plugin: bool = False


def validate(options: ValidateOptions) -> ExitCode:
    """Say all that there is to say about every file; only errors are a failure.

    Raises:
        UsageError: several files for ``resolved``.
    """
    if options.resolved and len(options.configs) != 1:
        raise UsageError("--resolved prints one config; name one file")
    # With --resolved standard output is the config's alone.
    stream = sys.stderr if options.resolved else sys.stdout
    # A name or a key may hold what the terminal's encoding doesn't.
    for one in (sys.stdout, sys.stderr):
        if hasattr(one, "reconfigure"):
            one.reconfigure(errors="backslashreplace")
    told = _Telling(options.format, stream)
    code = ExitCode.WITHIN_BUDGET
    for path in options.configs:
        outcome = _examined(path, options)
        told.tell(_ITS_NAME if path == _STANDARD_INPUT else str(path), outcome)
        if outcome.config is None:
            code = ExitCode.USAGE
        elif options.resolved:
            print(json.dumps(outcome.config.to_dict(), indent=2))
    told.end()
    return code


def _examined(path: Path, options: ValidateOptions) -> Outcome:
    if path == _STANDARD_INPUT:
        raw = sys.stdin.buffer.read(LARGEST + 1) if sys.stdin is not None else b""
        outcome = examine_bytes(raw, _ITS_NAME, Path.cwd(), options.settings)
    else:
        outcome = examine_file(path, options.settings)
    outcome = _with_trackers(outcome)
    if options.check_plugin:
        # Imported late: it is seldom asked for.
        from accaware.cli.validation.plugin_check import checked_plugin

        return checked_plugin(outcome)
    return outcome


def _with_trackers(outcome: Outcome) -> Outcome:
    """The same, with the trackers that aren't installed: a run wouldn't begin."""
    if outcome.config is None or not outcome.config.trackers:
        return outcome
    from accaware.trackers import check_installed

    try:
        check_installed(outcome.config.trackers)
    except MissingExtraError as error:
        return outcome.refused(("trackers", str(error)))
    return outcome


class _Telling:
    """Writes diagnostics in one format: as they come, but JSON as one list at the end."""

    def __init__(self, form: str, stream: TextIO) -> None:
        self._format = form
        self._stream = stream
        self._all: list[Diagnostic] = []

    def tell(self, name: str, outcome: Outcome) -> None:
        if self._format == "json":
            self._all += outcome.diagnostics
            return
        if self._format == "github":
            for one in outcome.diagnostics:
                print(github_annotation(one), file=self._stream)
            return
        if outcome.diagnostics:
            context = self._stream.isatty()
            print(diagnostics_text(outcome.diagnostics, context=context), file=self._stream)
        if outcome.config is not None:
            print(f"{name}: ok", file=self._stream)

    def end(self) -> None:
        if self._format == "json":
            print(diagnostics_json(self._all), file=self._stream)
