"""What an epoch of the plugin's training costs at a few rates."""

from __future__ import annotations

import statistics

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.compression.calibration import RangeMeasurement
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.compression.pruning.dense_state import DenseState
from accaware.pytorch.data.stopwatch import Stopwatch
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.training.returned import optimizer_and_schedule
from accaware.pytorch.training.task import PluginTask, TrainingCompression
from accaware.results.inspection import TrainingCost

_RATES = (0.0, 0.25, 0.5, 0.75)
_BATCHES = 8
_SECONDS = 10.0
"""No further batch is begun after these, once there were two."""


def rates_of(controller: PTCompressionController) -> list[float]:
    """A few rates up to the maximal one. Quantization alone has no others than 0 and that."""
    most = controller.maximal_compression_rate
    between = _RATES if controller.algorithm.name != "quantization" else _RATES[:1]
    return [*(rate for rate in between if rate < most), most]


def training_cost(
    task: PluginTask,
    controller: PTCompressionController,
    rate: float,
    flops: FlopsModel,
    dense_state: DenseState,
) -> TrainingCost:
    """Train a few batches at a rate and report how long one takes; all is as before afterwards.

    Raises:
        PluginFailure: the user's code raised.
    """
    # What is measured is a step, for which batch norm statistics needn't be right.
    preparations, controller.preparations = (
        controller.preparations,
        tuple(each for each in controller.preparations if isinstance(each, RangeMeasurement)),
    )
    try:
        controller.compression_rate = rate
        tensors = tensors_of(task.model)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        achieved = controller.compression_rate
        parameters = sum(parameter.numel() for parameter in task.model.parameters())
        step = _step_seconds(task, controller)
    finally:
        controller.preparations = preparations
        controller.release_optimizers()
        controller.compression_rate = 0.0
        dense_state.restore()
    steps = task.steps_per_epoch
    return TrainingCost(
        rate=rate,
        achieved=achieved,
        parameters=parameters,
        flops=flops.count(shapes),
        step_seconds=step,
        epoch_seconds=None if step is None or steps is None else step * steps,
    )


def _step_seconds(task: PluginTask, controller: PTCompressionController) -> float | None:
    optimizer, _ = optimizer_and_schedule(task.configure_optimizers())
    controller.release_optimizers()
    controller.attach_optimizer(optimizer)
    watch = Stopwatch(task.few_batches(_BATCHES), task.device, _SECONDS)
    task.train_on(watch, task.model, optimizer, TrainingCompression(controller))
    # The first batch warms up; it counts where it is the only one.
    seconds = watch.seconds[1:] or watch.seconds
    return statistics.median(seconds) if seconds else None
