"""From an exception to a message and an exit code, in this one place."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from accaware.cli.exit_codes import ExitCode
from accaware.cli.user_traceback import trace_of
from accaware.errors import (
    AccAwareError,
    ConfigError,
    OtherProcessFailed,
    PluginFailure,
    UsageError,
)


def reported(action: Callable[[], ExitCode]) -> ExitCode:
    """Run ``action``; where it raises, tell the user on standard error.

    An exception that isn't accaware's own goes on: it is a bug of ours, and whoever mends it
    needs the whole traceback.
    """
    try:
        return _told(action)
    except Exception as error:
        error.add_note("This is a bug in accaware. Please report it, with these lines.")
        raise


def _told(action: Callable[[], ExitCode]) -> ExitCode:
    try:
        return action()
    except KeyboardInterrupt as interrupt:
        if not getattr(interrupt, "quiet", False):
            print("interrupted", file=sys.stderr)
        _tell_notes(interrupt)
        signum = getattr(interrupt, "signum", signal.SIGINT)
        return ExitCode.INTERRUPTED if signum == signal.SIGINT else ExitCode.TERMINATED
    except OtherProcessFailed as failure:
        # It has told of it; how to go on is this one's to say.
        _tell_notes(failure)
        return ExitCode.USAGE if failure.mistake else ExitCode.FAILED
    except PluginFailure as failure:
        print(f"error: {failure.function} failed", file=sys.stderr)
        print(trace_of(failure.original), file=sys.stderr, end="")
        _tell_notes(failure)
        return ExitCode.FAILED
    except SystemExit as error:
        # Only a plugin can have asked for this, and its code would pass for an outcome of ours.
        print(f"error: the plugin called sys.exit({error.code!r})", file=sys.stderr)
        print(trace_of(error), file=sys.stderr, end="")
        _tell_notes(error)
        return ExitCode.FAILED
    except ConfigError as error:
        # Imported late: a command that goes well has no diagnostics to show.
        from accaware.report.diagnostics import diagnostics_text

        context = sys.stderr.isatty()
        print(diagnostics_text(error.diagnostics, context=context), file=sys.stderr)
        return ExitCode.USAGE
    except AccAwareError as error:
        print(f"error: {error}", file=sys.stderr)
        _tell_notes(error)
        return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED
    except OSError as error:
        # A full or read-only disk is nobody's bug, and what it says is all there is to know.
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        _tell_notes(error)
        return ExitCode.FAILED


def _tell_notes(error: BaseException) -> None:
    """Where it happened and how to go on, where whoever let it through knew that."""
    for note in getattr(error, "__notes__", ()):
        print(note, file=sys.stderr)
