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
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.distributed.agreement import (
    is_one_of_several,
    local_rank,
    machines_first_processes_first,
    rank,
)
from accaware.pytorch.export.checked import CheckedExport, default_path, metadata_of
from accaware.pytorch.export.export import format_named
from accaware.pytorch.model.copies import copied
from accaware.pytorch.model.device import hardware_of, named_device
from accaware.pytorch.performance.compare import PYTORCH, Comparison
from accaware.pytorch.state.checkpoint import load_compressed, save_compressed
from accaware.pytorch.state.reloaded import NOTHING, check_reloaded, gives_numbers
from accaware.pytorch.state.stateful import Stateful
from accaware.pytorch.training.distributed_runner import DistributedRunner
from accaware.pytorch.training.distributed_snapshots import DistributedSnapshots, OfEachProcess
from accaware.pytorch.training.plugin_ranking import ranking_by_plugin
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.snapshots import CompressionState, TorchSnapshots
from accaware.pytorch.training.task import PluginTask
from accaware.results.exports import ExportInfo
from accaware.results.latency import LatencyComparison
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes
from accaware.rundir.atomic import naming, sync_folder
from accaware.search.metric import BaselineMetric, DenseReferences
from accaware.search.ports import Observer, Runner, Snapshots, TrainingCallbacks
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import ResumableSearch
from accaware.search.result import SearchResult

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
) -> TorchRun:
    """Set a run up: seed, model, data, baseline, controller, in this order.

    Args:
        checkpoints: a folder for the search's own files; None for one that goes with the run.
        observers: told of the search's events and of progress within epochs.
        replay: leads the search to where it was interrupted, and records it; None for neither.
        warn: told where the run can't be gone on with if it is interrupted, or where what it
            hands over could be compared in part only; or of what it can't go on with as it was;
            or where it covers little of the model.

    Raises:
        UsageError: a device that isn't there; a model that can't be compressed.
        MissingExtraError: a package isn't installed that an export will need.
        PluginContractError: a function returned something else than it should.
        PluginFailure: a function raised.
    """
    device = _own_device(config.device)
    for name in config.export:
        # Not after hours of training.
        format_named(name).require()
    seed_everything(config.seed)
    fetching = config.task is not None and config.task.download
    turns: AbstractContextManager[None] = nullcontext()
    if fetching:
        turns = machines_first_processes_first()
    with turns:
        task = PluginTask(config, plugin, device, tuple(observers), warn)
    return TorchRun(config, task, checkpoints, replay or Replay(), warn)


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
    ) -> None:
        self._config = config
        self._task = task
        self._replay = replay
        self._warn = warn
        # Measured before anything is attached to the model. Where a run is gone on with, a
        # snapshot has the samples.
        references = DenseReferences()
        baseline = BaselineMetric.of_recorded(
            replay.answer(
                "baseline", lambda: references.validation.take(task.validate(task.model)).recorded
            )
        )
        confirmation = config.accuracy_aware_training.confirmation
        confirms, confirmation_baseline = confirmation is not None, None
        if confirmation is not None and confirmation.fraction is not None:
            drawn_by = replay.answer("confirmation_seed", lambda: config.seed)
            if drawn_by != config.seed:
                raise UsageError(
                    f"the data for confirmation were drawn by the seed {drawn_by}, and with "
                    f"{config.seed} trials would have seen some of them"
                )
        if confirms:
            confirmation_baseline = BaselineMetric.of_recorded(
                replay.answer(
                    "confirmation_baseline",
                    lambda: references.confirmation.take(task.confirm(task.model)).recorded,
                )
            )
        self._inputs = task.example_inputs()
        if not gives_numbers(task.model, self._inputs, task.device):
            raise UsageError(f"{NOTHING}; let example_inputs return some for which it does")
        # What the compressed model is loaded into and timed against; off the device meanwhile.
        self._dense = copied(task.model).cpu()
        self._controller, _ = create_compressed_model(
            task.handed_over,
            config,
            self._inputs,
            task.train_data,
            ranking_callbacks=ranking_by_plugin(task, replay),
        )
        self._controller.watch_preparations(task.watched)
        # Before the first epoch, after which the rest is told.
        told = self._controller.warnings()
        for message in told:
            warn(message)
        own = TorchRunner(
            task.model,
            self._controller,
            TrainingCallbacks(
                train_epoch_fn=lambda controller, model, epoch, optimizer, lr_scheduler: (
                    task.train_epoch(controller, model, optimizer, epoch)
                ),
                validate_fn=task.validate,
                configure_optimizers_fn=task.configure_optimizers,
                confirm_fn=task.confirm if confirms else None,
            ),
            None if checkpoints is None else str(checkpoints),
            weight_averaging=config.accuracy_aware_training.weight_averaging,
            references=references,
            told=told,
        )
        parts: dict[str, Stateful] = {
            "compression": CompressionState(self._controller),
            "training": own,
            "plugin": OfEachProcess(task.state()),
            # Last, as bringing back the others may draw random numbers.
            "randomness": OfEachProcess(task.randomness(warn), self._draw_on_its_own),
        }
        runner: Runner = own
        snapshots: Snapshots = TorchSnapshots(own.files, parts)
        if is_one_of_several():
            runner = DistributedRunner(own)
            snapshots = DistributedSnapshots(TorchSnapshots(own.files, parts))
        self._search = ResumableSearch(
            config,
            self._controller,
            runner,
            baseline,
            confirmation_baseline=confirmation_baseline,
            replay=replay,
            snapshots=snapshots,
            observers=task.observers,
            warn=warn,
        )
        self._searched = False
        self._draw_on_its_own()

    def _draw_on_its_own(self) -> None:
        """From here on each of several processes draws other random numbers than the first."""
        if rank():
            seed_everything((self._config.seed + rank()) % 2**32)

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
