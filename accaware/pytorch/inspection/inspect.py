"""The door: a config and a plugin to all that there is to know before a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from accaware.config.model.config import AlgorithmConfig, FilterPruningConfig, RunConfig
from accaware.errors import RunError
from accaware.plugins.plugin import Plugin
from accaware.pytorch.compression.pruning.dense_state import DenseState
from accaware.pytorch.compression.pruning_with_sparsity import PruningWithSparsity
from accaware.pytorch.create import create_compressed_model
from accaware.pytorch.data.loaders import seed_everything
from accaware.pytorch.inspection.layers import layer_costs
from accaware.pytorch.inspection.parts import parts_of
from accaware.pytorch.inspection.sensitivity import sensitivity_of
from accaware.pytorch.inspection.training import rates_of, training_cost
from accaware.pytorch.model.device import named_device
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.training.task import PluginTask
from accaware.results.inspection import Inspection

_UNITS = {
    "magnitude_sparsity": "weights",
    "quantization": "bits",
    PruningWithSparsity.name: "filters and weights",
}


def inspect(
    config: RunConfig,
    plugin: Plugin,
    *,
    samples: int | None = None,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Inspection:
    """Find out what a run would compress, and what its training would cost.

    The model is trained for a few batches at a time to see how long they take, and is as it was
    afterwards, as are the plugin's state and all random states. Nothing is written to disk.
    A learned ranking is not learned: layers are ranked as before it learns anything, unless a
    file has its coefficients.

    Args:
        samples: of the validation data, to measure each part's sensitivity on; None for none.
        report: what is done, how often it was, and how often it will be.

    Raises:
        UsageError: a device that isn't there; a model that can't be compressed.
        PluginContractError: a function returned something else than it should.
        PluginFailure: a function raised.
        RunError: the device is out of memory.
    """
    try:
        return _inspected(_without_learning(config), plugin, samples, report)
    except torch.OutOfMemoryError as error:
        raise RunError(f"the device is out of memory: {error}") from error


def _inspected(
    config: RunConfig,
    plugin: Plugin,
    samples: int | None,
    report: Callable[[str, int, int], None],
) -> Inspection:
    device = named_device(config.device)
    seed_everything(config.seed)
    task = PluginTask(config, plugin, device, ())
    model = task.model
    inputs = task.example_inputs()
    flops = FlopsModel(model, inputs)
    controller, _ = create_compressed_model(task.handed_over, config, inputs, task.train_data)
    # Rates are set here, whatever a schedule says.
    controller.scheduler.disable()
    algorithm = controller.algorithm
    dense_state = DenseState(model, algorithm, (task.state(), task.randomness()))
    parts = parts_of(model, algorithm, flops)
    numbers = {layer: each.part.number for each in parts for layer in each.part.layers}
    report("latency", 0, 1)
    layers, forward = layer_costs(model, inputs, flops, device, numbers)
    dense_state.restore()
    sensitivity = None
    if samples is not None:
        sensitivity = sensitivity_of(task, parts, samples, dense_state, report)
        dense_state.restore()
    rates, training = rates_of(controller), []
    for done, rate in enumerate(rates):
        report("training", done, len(rates))
        training.append(training_cost(task, controller, rate, flops, dense_state))
    pruning = config.filter_pruning
    by_flops = pruning is not None and pruning.params.pruning_flops_target is not None
    unit = _UNITS.get(algorithm.name, "FLOPs" if by_flops else "filters")
    return Inspection(
        model=type(model).__name__,
        device=str(device),
        algorithm=algorithm.name,
        rate_of=unit,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=flops.dense,
        forward_seconds=forward,
        maximal_rate=controller.maximal_compression_rate,
        steps_per_epoch=task.steps_per_epoch,
        layers=layers,
        parts=tuple(each.part for each in parts),
        left_out=tuple(entry.told for entry in controller.excluded),
        training=tuple(training),
        sensitivity=sensitivity,
    )


def _without_learning(config: RunConfig) -> RunConfig:
    return replace(config, compression=tuple(map(_ranked_as_it_is, config.compression)))


def _ranked_as_it_is(section: AlgorithmConfig) -> AlgorithmConfig:
    if not isinstance(section, FilterPruningConfig):
        return section
    params = section.params
    if params.interlayer_ranking_type != "learned_ranking" or params.load_ranking_coeffs_path:
        return section
    known = replace(
        params,
        interlayer_ranking_type="unweighted_ranking",
        allocation="global",
        all_weights=True,
        coupled_importance="sum",
        max_layer_pruning=1.0,
    )
    return replace(section, params=known)
