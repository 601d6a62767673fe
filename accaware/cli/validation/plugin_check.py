"""Whether a config's plugin can be imported and offers what it must."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

from accaware.api.loading import has_plugin
from accaware.cli.user_traceback import trace_of
from accaware.config.load import AccAwareConfig, Outcome
from accaware.errors import PluginContractError, PluginFailure, TaskError
from accaware.plugins.built_in import spec_of
from accaware.plugins.load import load_plugin
from accaware.plugins.plugin import Plugin

_NONE = (
    'is missing, and --check-plugin asks for it; add "plugin": "your_file.py", or a "model" and '
    'a "dataset" of torchvision'
)


def checked_plugin(outcome: Outcome) -> Outcome:
    """The same, with what is wrong with the config's plugin, a line each.

    Where the plugin's own code raised, its traceback goes to standard error, from its first
    frame on.
    """
    config = outcome.config
    if config is None:
        return outcome
    if not has_plugin(config):
        return outcome.refused(("plugin", _NONE))
    loaded = _loaded(config)
    if isinstance(loaded, TaskError):
        return outcome.refused(*loaded.faults)
    if isinstance(loaded, str):
        return outcome.refused(("plugin", loaded))
    return outcome if loaded.takes_config else outcome.with_unread_task(loaded.name)


def _loaded(config: AccAwareConfig) -> Plugin | TaskError | str:
    """The plugin; or else what is wrong with it."""
    spec = spec_of(config.plugin)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of our report
            return load_plugin(spec, config.plugin_args, config.directory, config)
    except TaskError as error:
        return error
    except PluginContractError as error:
        head, *lines = str(error).splitlines()
        return f"{head} {'; '.join(line.strip() for line in lines)}".rstrip()
    except PluginFailure as failure:
        print(trace_of(failure.original), file=sys.stderr, end="")
        original = failure.original
        return f"{failure.function} failed with {type(original).__name__}: {original}"
    except SystemExit as error:
        return f"importing it called sys.exit({error.code!r})"
