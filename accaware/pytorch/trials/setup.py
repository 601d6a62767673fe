"""A model with all that its search needs: measured, then prepared for compression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accaware.config.model.config import RunConfig
from accaware.errors import UsageError
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.distributed.agreement import rank
from accaware.pytorch.model.copies import copied
from accaware.pytorch.state.reloaded import NOTHING, gives_numbers
from accaware.pytorch.state.stateful import Stateful
from accaware.pytorch.training.distributed_snapshots import OfEachProcess
from accaware.pytorch.training.plugin_ranking import ranking_by_plugin
from accaware.pytorch.training.runner import TorchRunner
from accaware.pytorch.training.snapshots import CompressionState
from accaware.pytorch.training.task import PluginTask
from accaware.search.metric import BaselineMetric, DenseReferences
from accaware.search.ports import TrainingCallbacks
from accaware.search.replay.replay import Replay


class SearchSetup:
    """The baseline, the controller and the runner of a plugin's model, made in this order.

    Args:
        checkpoints: a folder for the runner's files; None for one that goes with it.
        replay: gives what was measured already, and records it.
        warn: told what the user should know before the first epoch.

    Raises:
        UsageError: a model that can't be compressed.
    """

    def __init__(
        self,
        config: RunConfig,
        task: PluginTask,
        checkpoints: Path | None,
        replay: Replay,
        warn: Callable[[str], None],
    ) -> None:
        self.task = task
        self._seed = config.seed
        # Measured before anything is attached to the model. Where a run is gone on with, a
        # snapshot has the samples.
        references = DenseReferences()
        self.baseline = BaselineMetric.of_recorded(
            replay.answer(
                "baseline", lambda: references.validation.take(task.validate(task.model)).recorded
            )
        )
        confirmation = config.accuracy_aware_training.confirmation
        confirms = confirmation is not None
        self.confirmation_baseline: BaselineMetric | None = None
        if confirmation is not None and confirmation.fraction is not None:
            drawn_by = replay.answer("confirmation_seed", lambda: config.seed)
            if drawn_by != config.seed:
                raise UsageError(
                    f"the data for confirmation were drawn by the seed {drawn_by}, and with "
                    f"{config.seed} trials would have seen some of them"
                )
        if confirms:
            self.confirmation_baseline = BaselineMetric.of_recorded(
                replay.answer(
                    "confirmation_baseline",
                    lambda: references.confirmation.take(task.confirm(task.model)).recorded,
                )
            )
        self.inputs = task.example_inputs()
        if not gives_numbers(task.model, self.inputs, task.device):
            raise UsageError(f"{NOTHING}; let example_inputs return some for which it does")
        # What the compressed model is loaded into and timed against; off the device meanwhile.
        self.dense = copied(task.model).cpu()
        self.controller, _ = create_compressed_model(
            task.handed_over,
            config,
            self.inputs,
            task.train_data,
            ranking_callbacks=ranking_by_plugin(task, replay),
        )
        self.controller.watch_preparations(task.watched)
        # Before the first epoch, after which the rest is told.
        told = self.controller.warnings()
        for message in told:
            warn(message)
        self.runner = TorchRunner(
            task.model,
            self.controller,
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
            warnings=task.warnings,
        )
        self.randomness = task.randomness(warn)
        self.parts: dict[str, Stateful] = {
            "compression": CompressionState(self.controller),
            "training": self.runner,
            "plugin": OfEachProcess(task.state()),
            # Last, as bringing back the others may draw random numbers.
            "randomness": OfEachProcess(self.randomness, self.draw_on_its_own),
        }

    def draw_on_its_own(self) -> None:
        """From here on each of several processes draws other random numbers than the first."""
        if rank():
            seed_everything((self._seed + rank()) % 2**32)
