"""``accaware run``: from the command line's words to a run, a new one or one to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accaware.cli.conduct import CompressionRun, conduct
from accaware.cli.exit_codes import ExitCode
from accaware.cli.loading import LoadedConfig, Overrides
from accaware.cli.output import Output
from accaware.cli.resume import Made, check_resumable, finished
from accaware.config.load import AccAwareConfig
from accaware.errors import UsageError
from accaware.plugins.plugin import Plugin
from accaware.results import strict_json
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.lock import locked
from accaware.search.ports import Observer
from accaware.search.replay.replay import Replay


@dataclass(frozen=True, kw_only=True)
class RunOptions(Overrides):
    """The words behind ``accaware run``; None and False where they weren't said."""

    config: Path | None = None
    output_dir: Path | None = None
    resume: Path | None = None
    force: bool = False
    json: bool = False
    quiet: bool = False

    def check(self) -> None:
        """Raises: UsageError, where options contradict each other."""
        if self.resume is not None and self.output_dir is not None:
            raise UsageError("--resume goes on in the run's own directory: leave out --output-dir")
        if self.resume is None and self.force:
            raise UsageError("--force means something with --resume only")


def run(options: RunOptions) -> ExitCode:
    """Load the config and the plugin, then search.

    Raises:
        UsageError: in the config, the plugin or the directory; nothing is left behind, and a
            run that was to be resumed is as it was.
    """
    options.check()
    output = Output(json=options.json, quiet=options.quiet)
    if options.resume is None:
        assert options.config is not None
        return _run_new(options.config, options, output)
    directory = RunDirectory.open(options.resume)
    with locked(directory.path, directory.lock):
        if options.config is None and not directory.config.is_file():
            raise UsageError(
                f"{directory.path}: the run was killed before it began; begin it with "
                f"accaware run CONFIG --resume {directory.path}"
            )
        loaded = LoadedConfig(options.config or directory.config, options)
        config = loaded.config
        ended = finished(directory, config, output)
        if ended is not None:
            return ended
        with output.guarding_stdout():
            plugin = loaded.plugin()
            made = Made(config, plugin.name)
            check_resumable(directory, made, output, force=options.force)
            return _conduct(config, plugin, made, directory, output, force=options.force)


def _run_new(path: Path, options: RunOptions, output: Output) -> ExitCode:
    loaded = LoadedConfig(path, options)
    config = loaded.config
    with output.guarding_stdout():
        plugin = loaded.plugin()
        if options.output_dir is not None:
            directory = RunDirectory.create(options.output_dir)
        else:
            directory = RunDirectory.create_numbered(path.stem)
        with directory.provisional(), locked(directory.path, directory.lock):
            made = Made(config, plugin.name)
            return _conduct(config, plugin, made, directory, output, force=False)


def _conduct(
    config: AccAwareConfig,
    plugin: Plugin,
    made: Made,
    directory: RunDirectory,
    output: Output,
    *,
    force: bool,
) -> ExitCode:
    resolved = strict_json.document(made.config)
    written = directory.config.read_text("utf-8") if directory.config.exists() else None
    if written is None:
        written = resolved
        write_text(directory.config, resolved)

    def start(checkpoints: Path, observers: Sequence[Observer], replay: Replay) -> CompressionRun:
        # Imports torch, which takes seconds: only now that everything else is in order.
        from accaware.pytorch.run import build

        run = build(
            config,
            plugin,
            checkpoints=checkpoints,
            observers=observers,
            replay=replay,
            warn=output.warn,
        )
        there = {"device": run.device, "hardware": run.hardware}
        check_resumable(directory, made, output, force=force, **there)
        # In this order: a kill between the two leaves a difference that was allowed just now.
        if written != resolved:
            write_text(directory.config, resolved)
        made.manifest(**there).write(directory.manifest)
        return run

    return conduct(start, directory, config.metric.name, output)
