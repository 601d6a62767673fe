"""Whether a config's plugin can be imported and offers what it must."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from accaware.cli.traces import trace_of
from accaware.config.model import AccAwareConfig
from accaware.errors import PluginContractError, PluginFailure
from accaware.plugins.load import load_plugin


def plugin_fault(config: AccAwareConfig) -> str | None:
    """What is wrong with the plugin, as one line; None if it can be used.

    Where the plugin's own code raised, its traceback goes to standard error, from its first
    frame on.
    """
    if config.plugin is None:
        return 'is missing, and --check-plugin asks for it; add "plugin": "your_file.py"'
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of our report
            load_plugin(config.plugin, config.plugin_args, config.directory)
    except PluginContractError as error:
        head, *lines = str(error).splitlines()
        return f"{head} {'; '.join(line.strip() for line in lines)}".rstrip()
    except PluginFailure as failure:
        print(trace_of(failure.original), file=sys.stderr, end="")
        original = failure.original
        return f"{failure.function} failed with {type(original).__name__}: {original}"
    except SystemExit as error:
        return f"importing it called sys.exit({error.code!r})"
    return None
