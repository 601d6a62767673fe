"""A whole run: a new one, or one to go on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accaware.api.lifecycle.final_report import final_report
from accaware.api.lifecycle.follower import Silence, follow
from accaware.api.lifecycle.processes import Processes, ending_together, joined
from accaware.api.lifecycle.resumption import (
    Made,
    check_resumable,
    check_same_config,
    finished,
    is_finished,
)
from accaware.api.lifecycle.run_lifecycle import CompressionRun, conduct
from accaware.api.lifecycle.user_observers import check_observers
from accaware.api.listener import PythonListener, RunListener
from accaware.api.loading import ConfigSource, LoadedConfig, check_plugin_is_there
from accaware.api.overrides import Changes, Overrides
from accaware.api.run_result import RunResult
from accaware.config.load import AccAwareConfig
from accaware.errors import UsageError
from accaware.results import strict_json
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.lock import locked
from accaware.search.ports import Observer
from accaware.search.replay.replay import Replay

if TYPE_CHECKING:
    from accaware.pytorch.run import TorchRun


def run(
    config: ConfigSource,
    *,
    output_dir: str | Path | None = None,
    plugin: Any = None,
    data: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    seed: int | None = None,
    overrides: Changes = (),
    observers: Iterable[Observer] = (),
    progress: bool | None = None,
    handle_signals: bool = False,
    ray_address: str = "local",
    listener: RunListener | None = None,
    auto_resume: bool = False,
) -> RunResult:
    """Search the highest compression rate within the config's accuracy budget.

    Ctrl-C raises a KeyboardInterrupt, once the best model so far is saved; ``resume`` goes on
    from the last finished epoch then, as it does after any failure.

    Where torchrun has started several processes, all of them have to call this. They train one
    model together; the first alone writes and prints, and tells its observers.

    Args:
        config: the path of a file, a config, or its data as a dict.
        output_dir: where the run's files go, a new or an empty folder; None for runs/NAME-NUMBER,
            NAME being that of the config's file, or "run".
        plugin: your model, data and training: a module, an object or a class (made with the
            config's plugin_args), or what a config may name, ``file.py:Class``; None for the
            config's own. Its create_model makes the trained model, anew each time it is asked.
        data: folder of the dataset, in place of the config's dataset_dir.
        download: fetch the dataset into that folder.
        device: in place of the config's, as are ``seed`` and ``overrides``.
        overrides: more keys to change, as in ``{"compression.params.pruning_target": 0.3}``, or
            ``KEY=VALUE`` each.
        observers: told of every event (accaware.events).
        progress: draw the search on standard error; None does where that is a terminal or a
            notebook.
        handle_signals: do as the command does, in the main thread: the first Ctrl-C, SIGTERM or
            SIGUSR1 ends the batch at hand, the second one the process.
        ray_address: where the config's engine is ray, the cluster: ``local`` for one of this
            machine alone, for as long as the run takes; ``auto`` for the one that this machine is
            a node of; or HOST:PORT.
        listener: told all that the command says, in place of what is drawn and of warnings.
        auto_resume: where ``output_dir`` holds a run of the same config, go on with that; of one
            that has ended, the result.

    Returns:
        What result.json says. Not within budget is no error: ``within_budget`` tells.

    Raises:
        UsageError: in the config (ConfigError), the plugin, the model or the directory; nothing
            is left behind. With ``auto_resume`` also where the directory holds another config's
            run.
        PluginFailure: the plugin or an observer raised; what was found until then is saved, as
            it is where the next three come up.
        RunError: the run failed, or its model couldn't be exported as the config asks.
        OSError: a file can't be written.
        KeyboardInterrupt: Ctrl-C.
        OtherProcessFailed: of several processes another one has failed; what was found is saved.
    """
    changes = Overrides(
        plugin=plugin,
        data=data,
        download=download,
        device=device,
        seed=seed,
        changes=overrides,
    )
    with joined() as processes, ending_together(processes):
        task = _Task(
            processes,
            changes,
            observers,
            listener,
            progress,
            handle_signals=handle_signals,
            ray_address=ray_address,
        )
        if not processes.is_first:
            return task.take_part()
        path = None if output_dir is None else Path(output_dir)
        loaded = LoadedConfig(config, changes, task.listener)
        if auto_resume and path is None:
            raise UsageError(
                f"{task.listener.option('auto_resume')} goes on with the run in a directory: name "
                f"it by {task.listener.option('output_dir')}"
            )
        if auto_resume and path is not None and RunDirectory.holds_run(path):
            there = RunDirectory.open(path)
            with locked(path, there.lock):
                check_same_config(there, loaded.config)
                had_finished = is_finished(there)
                result = task.go_on(there, loaded, force=False)
            if had_finished:
                task.listener.had_finished(path)
        else:
            name = Path(config).stem if isinstance(config, str | Path) else "run"
            result = task.begin(loaded, path, name)
        processes.tell(result)
        return result


def resume(
    directory: str | Path,
    config: ConfigSource | None = None,
    *,
    force: bool = False,
    plugin: Any = None,
    data: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    seed: int | None = None,
    overrides: Changes = (),
    observers: Iterable[Observer] = (),
    progress: bool | None = None,
    handle_signals: bool = False,
    ray_address: str = "local",
    listener: RunListener | None = None,
) -> RunResult:
    """Go on with a run from its last finished epoch; of one that has ended, the result.

    Args:
        directory: of the run.
        config: None for the run's own.
        force: go on even where something has changed.
        plugin: to be handed over again, where ``run`` was handed a module, an object or a class.
        observers: told of what happened before, too, as the search is led to where it was.

    The other arguments are those of ``run``, as is what is raised.

    Raises:
        UsageError: moreover where there is no run, another process is at it, or something has
            changed that could change the result; the run is as it was.
    """
    changes = Overrides(
        plugin=plugin,
        data=data,
        download=download,
        device=device,
        seed=seed,
        changes=overrides,
    )
    with joined() as processes, ending_together(processes):
        task = _Task(
            processes,
            changes,
            observers,
            listener,
            progress,
            handle_signals=handle_signals,
            ray_address=ray_address,
        )
        if not processes.is_first:
            return task.take_part()
        there = RunDirectory.open(Path(directory))
        with locked(there.path, there.lock):
            if config is None and not there.config.is_file():
                raise UsageError(
                    f"{there.path}: the run was killed before it began; begin it with "
                    f"{task.listener.to_begin(there.path)}"
                )
            loaded = LoadedConfig(
                there.config if config is None else config, changes, task.listener
            )
            result = task.go_on(there, loaded, force=force)
        processes.tell(result)
        return result


class _Task:
    """A run that was asked for, by one process or by the first of several; or to take part in.

    Args:
        changes: over the config.
        observers: the user's.
    """

    def __init__(
        self,
        processes: Processes,
        changes: Overrides,
        observers: Iterable[Observer],
        listener: RunListener | None,
        progress: bool | None,
        *,
        handle_signals: bool,
        ray_address: str,
    ) -> None:
        self.processes = processes
        self.changes = changes
        self.observers = tuple(observers)
        check_observers(self.observers)
        self.listener = listener or PythonListener(progress)
        self.handle_signals = handle_signals
        self.ray_address = ray_address

    def begin(self, loaded: LoadedConfig, output_dir: Path | None, name: str) -> RunResult:
        """A new run, in a new directory.

        Args:
            output_dir: None for runs/NAME-NUMBER.
        """
        attempt = self._attempt(loaded)
        if output_dir is not None:
            hint = self.listener.to_use_another_directory(output_dir)
            directory = RunDirectory.create(output_dir, if_taken=hint)
        else:
            directory = RunDirectory.create_numbered(name)
        with directory.provisional(), locked(directory.path, directory.lock):
            return attempt.make(directory)

    def go_on(self, there: RunDirectory, loaded: LoadedConfig, *, force: bool) -> RunResult:
        """The run in a directory that is locked, from where it is; one that has ended is told."""
        ended = finished(there, loaded.config, self.listener)
        if ended is not None:
            self.processes.agree(None)
            return ended
        check_plugin_is_there(there, self.changes, "resume")
        attempt = self._attempt(loaded, force=force)
        attempt.check(there)
        return attempt.make(there)

    def take_part(self) -> RunResult:
        """What the first process's run comes to."""
        config: AccAwareConfig | None = self.processes.agree(None)
        result: RunResult
        if config is None:
            result = self.processes.told()
        else:
            silence = Silence()
            plugin = Overrides(plugin=self.changes.handed_over)
            result = _Attempt(LoadedConfig(config, plugin, silence), self, silence).take_part()
        self.listener.took_part()
        return result

    def _attempt(self, loaded: LoadedConfig, *, force: bool = False) -> _Attempt:
        self.processes.agree(loaded.config)
        return _Attempt(loaded, self, self.listener, force=force)


class _Attempt:
    """A config and its plugin, which is imported, on the way to a run."""

    def __init__(
        self, loaded: LoadedConfig, task: _Task, listener: RunListener, *, force: bool = False
    ) -> None:
        self._config = loaded.config
        self._plugin = loaded.plugin()
        self._made = Made(loaded.config, self._plugin.name, loaded.provenance())
        self._listener = listener
        self._task = task
        self._force = force

    def check(self, directory: RunDirectory, **there: Any) -> None:
        """See that the run in ``directory`` can be gone on with.

        Raises:
            UsageError: the run in ``directory`` began with something else.
        """
        check_resumable(directory, self._made, self._listener, force=self._force, **there)

    def make(self, directory: RunDirectory) -> RunResult:
        """Search there."""
        resolved = strict_json.document(self._made.config)
        written = directory.config.read_text("utf-8") if directory.config.exists() else None
        if written is None:
            written = resolved
            write_text(directory.config, resolved)

        processes = self._task.processes

        def start(
            checkpoints: Path | None, observers: Sequence[Observer], replay: Replay
        ) -> CompressionRun:
            run = self._build(checkpoints, observers, replay)
            there: dict[str, Any] = {
                "device": run.device,
                "hardware": run.hardware,
                "processes": processes.count,
            }
            self.check(directory, **there)
            # In this order: a kill between the two leaves a difference that was allowed just now.
            if written != resolved:
                write_text(directory.config, resolved)
            self._made.manifest(**there).write(directory.manifest)
            return run

        with final_report(directory, self._listener, wanted=self._config.report):
            return conduct(
                start,
                directory,
                self._config.metric.name,
                self._listener,
                observers=self._task.observers,
                handle_signals=self._task.handle_signals,
                processes=processes,
            )

    def take_part(self) -> RunResult:
        """Search along with the first process."""
        task = self._task
        return follow(self._build, task.processes, handle_signals=task.handle_signals)

    def _build(
        self, checkpoints: Path | None, observers: Sequence[Observer], replay: Replay
    ) -> TorchRun:
        # Imports torch, which takes seconds: only now that everything else is in order.
        from accaware.pytorch.run import build

        return build(
            self._config,
            self._plugin,
            checkpoints=checkpoints,
            observers=observers,
            replay=replay,
            warn=self._listener.warn,
            ray_address=self._task.ray_address,
        )
