"""A run as it was asked for, in one process or in several, up to where it is conducted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from accaware.api.overrides import Overrides
from accaware.api.run_result import RunResult
from accaware.config.load import AccAwareConfig
from accaware.errors import UsageError
from accaware.results import strict_json
from accaware.rundir.atomic import write_text
from accaware.rundir.directory import RunDirectory
from accaware.rundir.lock import locked
from accaware.search.ports import Observer
from accaware.search.replay.replay import Replay
from accaware.trackers import TRACKERS, check_installed
from accaware.trackers.tracking import Tracking

if TYPE_CHECKING:
    from accaware.pytorch.run import TorchRun


def together(
    request_of: Callable[[Processes], RunRequest], first: Callable[[RunRequest], RunResult]
) -> RunResult:
    """What comes of a request; of several processes the first does it, the others take part."""
    with joined() as processes, ending_together(processes):
        request = request_of(processes)
        if not processes.is_first:
            return request.take_part()
        result = first(request)
        processes.tell(result)
        return result


class RunRequest:
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

    def run(self, config: ConfigSource, output_dir: Path | None, *, auto_resume: bool) -> RunResult:
        """A new run, or with ``auto_resume`` the one that the directory holds.

        Args:
            output_dir: None for runs/NAME-NUMBER.
        """
        loaded = LoadedConfig(config, self.changes, self.listener)
        if auto_resume and output_dir is None:
            raise UsageError(
                f"{self.listener.option('auto_resume')} goes on with the run in a directory: name "
                f"it by {self.listener.option('output_dir')}"
            )
        if auto_resume and output_dir is not None and RunDirectory.holds_run(output_dir):
            there = RunDirectory.open(output_dir)
            with locked(output_dir, there.lock):
                check_same_config(there, loaded.config)
                had_finished = is_finished(there)
                result = self._go_on(there, loaded, force=False)
            if had_finished:
                self.listener.had_finished(output_dir)
            return result
        attempt = self._attempt(loaded)
        if output_dir is not None:
            hint = self.listener.to_use_another_directory(output_dir)
            directory = RunDirectory.create(output_dir, if_taken=hint)
        else:
            name = Path(config).stem if isinstance(config, str | Path) else "run"
            directory = RunDirectory.create_numbered(name)
        with directory.provisional(), locked(directory.path, directory.lock):
            return attempt.make(directory)

    def resume(self, path: Path, config: ConfigSource | None, *, force: bool) -> RunResult:
        """The run in a directory, from where it is."""
        there = RunDirectory.open(path)
        with locked(there.path, there.lock):
            if config is None and not there.config.is_file():
                raise UsageError(
                    f"{there.path}: the run was killed before it began; begin it with "
                    f"{self.listener.to_begin(there.path)}"
                )
            source = there.config if config is None else config
            loaded = LoadedConfig(source, self.changes, self.listener)
            return self._go_on(there, loaded, force=force)

    def _go_on(self, there: RunDirectory, loaded: LoadedConfig, *, force: bool) -> RunResult:
        """The run in a directory that is locked; one that has ended is told."""
        check_installed(loaded.config.trackers)
        ended = finished(there, loaded.config, self.listener)
        if ended is not None:
            self.processes.agree(None)
            self.tracking(there, loaded.config).send_ended()
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

    def tracking(self, directory: RunDirectory, config: AccAwareConfig) -> Tracking:
        """The observer for those trackers that the config names."""
        return Tracking(
            directory,
            config.to_dict(),
            [TRACKERS[name](directory) for name in config.trackers],
            warn=self.listener.warn,
            to_resume=self.listener.to_resume(directory.path),
        )

    def _attempt(self, loaded: LoadedConfig, *, force: bool = False) -> _Attempt:
        check_installed(loaded.config.trackers)
        self.processes.agree(loaded.config)
        return _Attempt(loaded, self, self.listener, force=force)


class _Attempt:
    """A config and its plugin, which is imported, on the way to a run."""

    def __init__(
        self,
        loaded: LoadedConfig,
        request: RunRequest,
        listener: RunListener,
        *,
        force: bool = False,
    ) -> None:
        self._config = loaded.config
        self._plugin = loaded.plugin()
        self._made = Made(loaded.config, self._plugin.name, loaded.provenance())
        self._listener = listener
        self._request = request
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

        processes = self._request.processes

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

        report = final_report(directory, self._listener, wanted=self._config.report)
        # It has the page, too: left when that is written.
        with self._request.tracking(directory, self._config) as tracking, report:
            return conduct(
                start,
                directory,
                self._config.metric.name,
                self._listener,
                observers=[tracking, *self._request.observers],
                handle_signals=self._request.handle_signals,
                processes=processes,
            )

    def take_part(self) -> RunResult:
        """Search along with the first process."""
        request = self._request
        return follow(self._build, request.processes, handle_signals=request.handle_signals)

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
            ray_address=self._request.ray_address,
        )
