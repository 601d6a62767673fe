"""From a config and a plugin to a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from accaware.config.dump import dump
from accaware.config.model.config import RunConfig
from accaware.errors import RunError, UsageError
from accaware.plugins.plugin import Plugin
from accaware.plugins.provenance import is_handed_over
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.distributed.agreement import (
    is_one_of_several,
    local_rank,
    machines_first_processes_first,
)
from accaware.pytorch.export.checked import CheckedExport, default_path, metadata_of
from accaware.pytorch.export.export import format_named
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.device import hardware_of, named_device
from accaware.pytorch.performance.compare import PYTORCH, Comparison
from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from accaware.pytorch.state.reloaded import check_reloaded
from accaware.pytorch.training.distributed_runner import DistributedRunner
from accaware.pytorch.training.distributed_snapshots import DistributedSnapshots
from accaware.pytorch.training.snapshots import TorchSnapshots
from accaware.pytorch.training.task import PluginTask
from accaware.pytorch.trials.bench import TorchBench
from accaware.pytorch.trials.remote import RemoteSetup, bench_factory, surroundings
from accaware.pytorch.trials.setup import SearchSetup
from accaware.ray.cluster import LOCAL, RayCluster
from accaware.ray.executor import RayExecutor
from accaware.ray.workers import RayWorkers
from accaware.results.exports import ExportInfo
from accaware.results.latency import LatencyComparison
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes
from accaware.rundir.atomic import naming, sync_folder
from accaware.search.ports import Observer, Runner, Snapshots
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import ResumableSearch
from accaware.search.result import SearchResult
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.in_process import InProcessExecutor

_ONE_TRIAL = (
    "parallel_trials above 1 is for a run in one process; several processes train one trial "
    "together"
)

_TIMING_SECONDS = 0.2
"""Of each model, at the end of a run. `accaware benchmark` takes its time."""


def build(
    config: RunConfig,
    plugin: Plugin,
    *,
    checkpoints: Path | None,
    observers: Iterable[Observer],
    replay: Replay | None = None,
    warn: Callable[[str], None] = lambda message: None,
    ray_address: str = LOCAL,
) -> TorchRun:
    """Set a run up: seed, model, data, baseline, controller, in this order.

    Args:
        checkpoints: a folder for the search's own files; None for one that goes with the run.
        observers: told of the search's events and of progress within epochs.
        replay: leads the search to where it was interrupted, and records it; None for neither.
        warn: told where the run can't be gone on with if it is interrupted, or where what it
            hands over could be compared in part only; or of what it can't go on with as it was;
            or where it covers little of the model.
        ray_address: of the cluster that runs the trials, where the config's engine is ray.

    Raises:
        UsageError: a device that isn't there; a model that can't be compressed; trials side by
            side in one of several processes.
        MissingExtraError: a package isn't installed that an export will need.
        PluginContractError: a function returned something else than it should.
        PluginFailure: a function raised.
    """
    device = _own_device(config.device)
    for name in config.export:
        # Not after hours of training.
        format_named(name).require()
    if is_one_of_several() and config.accuracy_aware_training.parallel_trials > 1:
        raise UsageError(_ONE_TRIAL)
    # Nor is what stands against trials on a cluster found out then.
    workers = _ray_workers(config, plugin, ray_address, warn) if config.engine == "ray" else None
    try:
        seed_everything(config.seed)
        fetching = config.task is not None and config.task.download
        turns: AbstractContextManager[None] = nullcontext()
        if fetching:
            turns = machines_first_processes_first()
        with turns:
            task = PluginTask(config, plugin, device, tuple(observers), warn)
        return TorchRun(config, task, checkpoints, replay or Replay(), warn, workers)
    except BaseException:
        if workers is not None:
            workers.close()
        raise


def _ray_workers(
    config: RunConfig, plugin: Plugin, address: str, warn: Callable[[str], None]
) -> RayWorkers:
    if is_handed_over(plugin.name):
        raise UsageError(
            f"engine ray needs a plugin that its workers can import, by a name as in the config's "
            f'"plugin"; {plugin.name} was handed over in Python'
        )
    here = surroundings(config)
    resources = dict(config.resources_per_trial) or {
        "CPU": 1.0,
        "GPU": float(here.device == "cuda"),
    }
    count = config.accuracy_aware_training.parallel_trials
    cluster = RayCluster(address)
    try:
        return RayWorkers(cluster, count, resources, bench_factory(config), here, warn)
    except BaseException:
        cluster.close()
        raise


def _own_device(name: str) -> torch.device:
    """The named device, of which each of several processes has one of its own.

    Raises:
        UsageError: it isn't there, or all would have the same.
    """
    device = named_device(name)
    if not is_one_of_several() or device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in name:
        raise UsageError(
            f"device {str(device)!r}: each of several processes takes a GPU of its own, by its "
            'LOCAL_RANK, for the device "cuda"; or they all compute on "cpu"'
        )
    device = named_device(f"cuda:{local_rank()}")
    torch.cuda.set_device(device)
    return device


class TorchRun:
    """A model, ready to be compressed, and the search over it."""

    def __init__(
        self,
        config: RunConfig,
        task: PluginTask,
        checkpoints: Path | None,
        replay: Replay,
        warn: Callable[[str], None],
        workers: RayWorkers | None = None,
    ) -> None:
        self._config = config
        self._task = task
        self._replay = replay
        self._warn = warn
        setup = SearchSetup(config, task, checkpoints, replay, warn)
        self._inputs, self._dense, self._controller = setup.inputs, setup.dense, setup.controller
        self._executor = self._trial_executor(setup, checkpoints, workers)
        runner: Runner = setup.runner
        snapshots: Snapshots = TorchSnapshots(setup.runner.files, setup.parts)
        if is_one_of_several():
            runner = DistributedRunner(setup.runner)
            snapshots = DistributedSnapshots(TorchSnapshots(setup.runner.files, setup.parts))
        self._search = ResumableSearch(
            config,
            setup.controller,
            runner,
            setup.baseline,
            confirmation_baseline=setup.confirmation_baseline,
            replay=replay,
            snapshots=snapshots,
            observers=task.observers,
            warn=warn,
            executor=self._executor,
        )
        self._searched = False
        setup.draw_on_its_own()

    def _trial_executor(
        self, setup: SearchSetup, checkpoints: Path | None, workers: RayWorkers | None
    ) -> TrialExecutor | None:
        """Who runs trials side by side; None where the search trains one after another itself."""
        if self._config.accuracy_aware_training.parallel_trials == 1:
            return None
        assert checkpoints is not None, "the first process has a folder, and is the only one"
        bench = TorchBench(setup, checkpoints, self._config.seed)
        if not self._replay.replaying:
            bench.forget_all()
        bench.origin = self._replay.answer("origin", bench.save_origin)
        if workers is None:
            return InProcessExecutor(bench)
        answers = tuple(self._replay.given)
        remote = RemoteSetup(answers, bench.packed_origin())
        return RayExecutor(workers, bench, remote, self._config.maximal_trial_restarts)

    @property
    def device(self) -> str:
        """Where the model is trained: ``cpu``, ``cuda:0``."""
        return str(self._task.device)

    @property
    def hardware(self) -> str:
        """The device's model, as the manifest keeps it."""
        return hardware_of(self._task.device)

    @property
    def excluded(self) -> Sequence[tuple[str, str]]:
        """Layers that aren't compressed, each with the reason."""
        return [entry.told for entry in self._controller.excluded]

    @property
    def result(self) -> SearchResult | None:
        """Of a finished search, or what an unfinished one had found; None before it began.

        While it is led to where it was interrupted it has not begun yet: the model isn't there.
        """
        return self._search.result if self._searched and not self._replay.replaying else None

    def search(self) -> SearchResult:
        """Search; the best model is held afterwards.

        Raises:
            PluginFailure: the user's code raised; ``result`` has what was found by then.
            RunError: the device is out of memory, likewise.
            JournalError: the recording is another search's.
        """
        self._searched = True
        try:
            return self._search.run()
        except torch.OutOfMemoryError as error:
            raise RunError(f"the device is out of memory: {error}") from error
        finally:
            if self._executor is not None:
                self._executor.close()

    def load_best(self) -> bool:
        """After an unfinished search, hold the best model so far; False if there is none."""
        result = self.result
        if result is None or result.best is None:
            return False
        self._search.load(result.best.checkpoint)
        return True

    def sizes(self) -> ModelSizes:
        """Of the model that is held now."""
        return self._controller.sizes()

    def layers(self) -> Sequence[LayerSizes]:
        """Of the model that is held now, in the order of the network."""
        return self._controller.layers()

    def quantizers(self) -> Sequence[QuantizerInfo]:
        """Of the model that is held now."""
        return self._controller.quantizers()

    def save_model(self, path: Path) -> None:
        """Write the model that is held, for ``load_compressed``, once that gives it back.

        Raises:
            RunError: it can't be loaded into the dense model, or computes something else
                then. An earlier file of that name is intact.
            OSError: the file can't be written, likewise.
        """
        model, draft = self._task.model, path.with_name(f".{path.name}.unproven")
        try:
            with naming(path):
                save_compressed(model, self._controller.algorithm.kept_masks(), draft)
                self._check_saved(draft)
                os.replace(draft, path)
                sync_folder(path.parent)
        finally:
            draft.unlink(missing_ok=True)

    def _check_saved(self, path: Path) -> None:
        try:
            check_reloaded(
                path,
                self._task.model,
                copied(self._dense).cpu(),
                self._inputs,
                device=self._task.device,
                warn=self._warn,
            )
        except torch.OutOfMemoryError as error:
            raise RunError(f"the device is out of memory: {error}") from error

    def latency(self, path: Path) -> LatencyComparison | None:
        """Of the model in ``path``, saved by save_model, and of the dense one.

        In the first inference runtime that is installed, else in PyTorch; None for a quantized
        model there, as PyTorch would but simulate it.

        Raises:
            RunError: the model can't be exported.
        """
        comparison = Comparison(seconds=_TIMING_SECONDS)
        in_torch = comparison.chosen == PYTORCH
        if in_torch and self.quantizers():
            return None
        device = self._task.device if in_torch else torch.device("cpu")
        dense = self._dense.to(device)
        compressed = load_compressed(path, copied(dense))
        return comparison.latency(dense, compressed, self._inputs.on(device))

    @property
    def export_formats(self) -> Sequence[str]:
        """That the model is to be exported to in the end."""
        return self._config.export

    def export(self, format: str, folder: Path) -> ExportInfo:
        """Of the model that is held now.

        Raises:
            RunError: it can't be exported, or the file computes something else.
            OSError: the file can't be written.
        """
        result = self._search.result
        assert result.best is not None
        metadata = metadata_of(dump(self._config), result.best)
        exporting = CheckedExport(self._task, self._task.model, self._inputs, metadata)
        return exporting.write(default_path(folder, format), format=format)
