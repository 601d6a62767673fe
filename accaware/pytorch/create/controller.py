"""A model and a config to a controller."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from accaware.config.model.config import LevelledConfig, MagnitudeSparsityConfig, RunConfig
from accaware.config.model.schedule import schedule_of
from accaware.errors import UsageError
from accaware.pytorch.compression.acceptance import check_model, counted_flops
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.learned_ranking import RankingCallbacks
from accaware.pytorch.compression.pruning_with_sparsity import PruningWithSparsity
from accaware.pytorch.compression.quantization_alone import QuantizationAlone
from accaware.pytorch.compression.sizes import SizeReference
from accaware.pytorch.create.algorithms import (
    distillation_of,
    filter_pruning_of,
    learn_ranking,
    magnitude_sparsity_of,
)
from accaware.pytorch.create.preparations import (
    check_needs_no_data,
    preparations_of,
    reconstruction_of,
)
from accaware.pytorch.create.quantization import quantization_settings_of
from accaware.pytorch.data.training_sample import training_sample
from accaware.pytorch.distributed.agreement import is_one_of_several
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.wrappers import recompile, unwrapped
from accaware.pytorch.quantization.quantization import Quantization
from accaware.pytorch.training.distributed_runner import DistributedRunner
from accaware.pytorch.training.runner import TorchRunner
from accaware.search.metric import DenseReferences
from accaware.search.ports import Runner, TrainingCallbacks
from accaware.search.schedules.schedules import Baseline
from accaware.search.schedules.several import ScheduleConfig


def create_compressed_model(
    model: nn.Module,
    config: RunConfig,
    example_inputs: Any = None,
    train_loader: Iterable[Any] | None = None,
    *,
    ranking_callbacks: RankingCallbacks | None = None,
) -> tuple[PTCompressionController, nn.Module]:
    """Prepare a model for compression; measure its baseline before this.

    Args:
        model: trained. It is compressed in place, and stays dense until a rate is set. Where it
            is compiled by torch.compile or wrapped in DataParallel, what is compressed is the
            module within, and all names are that module's.
        config: its ``compression`` section says how.
        example_inputs: a tensor, a tuple of positional or a mapping of keyword arguments of the
            model's forward, batch first (a batch of 1 will do), on the model's device; None for
            zeros of the shapes in the config's ``input_info``.
        train_loader: needed for quantization, and where the config asks for batchnorm_adaptation
            or reconstruction; a sample of it is tried as well as the example inputs.
        ranking_callbacks: needed for filter pruning with interlayer_ranking_type
            learned_ranking, unless load_ranking_coeffs_path names a file.

    Returns:
        The controller, and the same model.

    Raises:
        CompressionError: the model can't be compressed as asked; says why.
        UsageError: the config isn't an AccAwareConfig; the model has no parameters, or some
            without values; a scope matches nothing; example_inputs, a train_loader or
            ranking_callbacks are missing; ranking coefficients don't fit.
    """
    _check_config(config)
    handed_over, model = model, unwrapped(model)
    check_model(model)
    if train_loader is None:
        check_needs_no_data(config)
    inputs = ExampleInputs.of(_samples(model, config) if example_inputs is None else example_inputs)
    flops = counted_flops(model, inputs)
    pruning = sparsity = distillation = quantization = reconstruction = None
    if (pruned := config.filter_pruning) is not None:
        device = next(model.parameters()).device
        sample = None if train_loader is None else training_sample(train_loader, model, device)
        samples = [] if sample is None else [sample]
        pruning = filter_pruning_of(model, pruned, inputs, flops, samples)
        learn_ranking(pruning, config, pruned, ranking_callbacks)
        # After that, as candidates are judged by the weights that they have.
        reconstruction = reconstruction_of(config, pruning, train_loader)
        pruning.reconstruction = reconstruction
    if (sparse := config.magnitude_sparsity) is not None:
        sparsity = magnitude_sparsity_of(model, sparse, inputs)
    # After learned ranking, which trains the model: nobody is to watch that.
    if (taught := config.knowledge_distillation) is not None:
        higher = config.higher_is_better
        distillation = distillation_of(model, taught, inputs, higher_is_better=higher)
    # After the groups were found: these follow a model in which nothing is quantized.
    if (quantized := config.quantization) is not None:
        settings = quantization_settings_of(model, quantized)
        quantization = Quantization(model, settings, inputs)
    algorithm = _algorithm(pruning, sparsity, quantization)
    schedules = [_schedule_config(section) for section in config.levelled]
    controller = PTCompressionController(
        handed_over,
        algorithm,
        schedules or [ScheduleConfig(schedule=Baseline(algorithm.maximal_compression_rate))],
        SizeReference(model, flops, () if pruning is None else pruning.groups),
        partial(_make_runner, config.accuracy_aware_training.weight_averaging),
        quantization=quantization,
        distillation=distillation,
        preparations=preparations_of(config, quantization, train_loader),
        reconstruction=reconstruction,
        makes_zeros=sparsity is not None,
    )
    recompile(handed_over)
    return controller, handed_over


def _check_config(config: object) -> None:
    if not isinstance(config, RunConfig):
        maker = "from_dict" if isinstance(config, Mapping) else "from_json"
        raise UsageError(
            f"the config is {reprlib.repr(config)}: make one that is checked and complete of it by "
            f"accaware.AccAwareConfig.{maker}(...)"
        )


def _make_runner(
    weight_averaging: str,
    model: nn.Module,
    controller: PTCompressionController,
    callbacks: TrainingCallbacks,
    log_dir: str | None,
    references: DenseReferences | None,
) -> Runner:
    runner = TorchRunner(
        model,
        controller,
        callbacks,
        log_dir,
        weight_averaging=weight_averaging,
        references=references,
    )
    return DistributedRunner(runner) if is_one_of_several() else runner


def _algorithm(
    pruning: FilterPruning | None,
    sparsity: MagnitudeSparsity | None,
    quantization: Quantization | None,
) -> CompressionAlgorithm:
    """What the rate is about."""
    if pruning is not None and sparsity is not None:
        return PruningWithSparsity(pruning, sparsity)
    if pruning is not None:
        return pruning
    if sparsity is not None:
        return sparsity
    assert quantization is not None
    return QuantizationAlone(quantization)


def _samples(model: nn.Module, config: RunConfig) -> tuple[torch.Tensor, ...]:
    if not config.input_info:
        raise UsageError(
            "pass example_inputs to create_compressed_model, or set input_info in the config"
        )
    first = next(model.parameters(), torch.zeros(()))
    return tuple(first.new_zeros(info.sample_size) for info in config.input_info)


def _schedule_config(section: LevelledConfig) -> ScheduleConfig:
    if not isinstance(section, MagnitudeSparsityConfig):
        return ScheduleConfig(schedule=schedule_of(section))
    return ScheduleConfig(
        schedule=schedule_of(section),
        per_optimizer_step=section.params.update_per_optimizer_step,
        steps_per_epoch=section.params.steps_per_epoch,
        freeze_epoch=section.params.sparsity_freeze_epoch,
    )
