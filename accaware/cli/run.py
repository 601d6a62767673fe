"""``accaware run``: from the command line's words to a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accaware.cli.conduct import CompressionRun, conduct
from accaware.cli.exit_codes import ExitCode
from accaware.cli.output import Output
from accaware.config.algorithms import why_not_runnable
from accaware.config.load import examine_file
from accaware.config.plugin_path import located
from accaware.errors import UsageError
from accaware.plugins.load import load_plugin
from accaware.report.diagnostics import diagnostic_line
from accaware.rundir import strict_json
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.search.ports import Observer


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The words behind ``accaware run``; None and False where they weren't said."""

    config: Path
    output_dir: Path | None = None
    plugin: str | None = None
    device: str | None = None
    seed: int | None = None
    settings: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False

    @property
    def overrides(self) -> tuple[str, ...]:
        """All that differs from the config file, as ``key=value``."""
        own = {
            # In a config, a plugin's path would start at the config's folder.
            "plugin": located(self.plugin, Path.cwd()) if self.plugin else None,
            "device": self.device,
            "seed": self.seed,
        }
        said = (f"{key}={json.dumps(value)}" for key, value in own.items() if value is not None)
        return (*self.settings, *said)


def run(options: RunOptions) -> ExitCode:
    """Load the config and the plugin, then search.

    Raises:
        UsageError: in the config, the plugin or the output directory; nothing is left behind.
    """
    output = Output(json=options.json, quiet=options.quiet)
    examined = examine_file(options.config, options.overrides)
    config = examined.require()
    obstacle = why_not_runnable(config)
    if obstacle is not None:
        raise UsageError(f"{options.config}: {obstacle}")
    for diagnostic in examined.warnings:
        print(diagnostic_line(diagnostic), file=sys.stderr)
    if config.plugin is None:
        raise UsageError(
            f'{options.config}: there is no plugin: add "plugin": "your_file.py" to it, '
            "or name one with --plugin"
        )
    with output.guarding_stdout():
        plugin = load_plugin(config.plugin, config.plugin_args, config.directory)
        resolved = strict_json.document(config.to_dict())
        if options.output_dir is not None:
            directory = RunDirectory.create(options.output_dir)
        else:
            directory = RunDirectory.create_numbered(options.config.stem)
        write_text(directory.config, resolved)

        def start(checkpoints: Path, observers: Sequence[Observer]) -> CompressionRun:
            # Imports torch, which takes seconds: only now that everything else is in order.
            from accaware.pytorch.build import build

            return build(config, plugin, checkpoints=checkpoints, observers=observers)

        return conduct(start, directory, config.metric.name, output)
