"""From an exception to a message and an exit code, in this one place."""

from __future__ import annotations

import sys
from collections.abc import Callable

from accaware.cli.exit_codes import ExitCode
from accaware.cli.traces import trace_of
from accaware.errors import AccAwareError, ConfigError, PluginFailure, UsageError


def reported(action: Callable[[], ExitCode]) -> ExitCode:
    """Run ``action``; where it raises, tell the user on standard error.

    An exception that isn't accaware's own goes on: it is a bug of ours, and whoever mends it
    needs the whole traceback.
    """
    try:
        return action()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except PluginFailure as failure:
        print(f"error: {failure.function} failed", file=sys.stderr)
        print(trace_of(failure.original), file=sys.stderr, end="")
        return ExitCode.FAILED
    except SystemExit as error:
        # Only a plugin can have asked for this, and its code would pass for an outcome of ours.
        print(f"error: the plugin called sys.exit({error.code!r})", file=sys.stderr)
        print(trace_of(error), file=sys.stderr, end="")
        return ExitCode.FAILED
    except ConfigError as error:
        # Imported late: a command that goes well has no diagnostics to show.
        from accaware.report.diagnostics import diagnostics_text

        context = sys.stderr.isatty()
        print(diagnostics_text(error.diagnostics, context=context), file=sys.stderr)
        return ExitCode.USAGE
    except AccAwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.FAILED
    except Exception as error:
        error.add_note("This is a bug in accaware. Please report it, with these lines.")
        raise
