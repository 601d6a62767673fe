"""A whole run: a new one, or one to go on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from accaware.api.lifecycle.run_request import RunRequest, together
from accaware.api.listener import RunListener
from accaware.api.loading import ConfigSource
from accaware.api.overrides import Changes, Overrides
from accaware.api.run_result import RunResult
from accaware.search.ports import Observer


def run(
    config: ConfigSource,
    *,
    output_dir: str | Path | None = None,
    plugin: Any = None,
    data: str | Path | None = None,
    download: bool = False,
    device: str | None = None,
    seed: int | None = None,
    trackers: Sequence[str] | None = None,
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
        device: in place of the config's, as are ``seed``, ``trackers`` and ``overrides``.
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
        trackers=trackers,
        changes=overrides,
    )
    request_of = partial(
        RunRequest,
        changes=changes,
        observers=observers,
        listener=listener,
        progress=progress,
        handle_signals=handle_signals,
        ray_address=ray_address,
    )
    path = None if output_dir is None else Path(output_dir)
    return together(request_of, lambda request: request.run(config, path, auto_resume=auto_resume))


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
    trackers: Sequence[str] | None = None,
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
        trackers=trackers,
        changes=overrides,
    )
    request_of = partial(
        RunRequest,
        changes=changes,
        observers=observers,
        listener=listener,
        progress=progress,
        handle_signals=handle_signals,
        ray_address=ray_address,
    )
    return together(
        request_of, lambda request: request.resume(Path(directory), config, force=force)
    )
