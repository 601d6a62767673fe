"""From a trained model and a config to a controller: the door for training scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from accaware.config.model.config import (
    FilterPruningConfig,
    LevelledConfig,
    MagnitudeSparsityConfig,
    RunConfig,
)
from accaware.config.model.quantization import QuantizationConfig
from accaware.config.model.schedule import schedule_of
from accaware.errors import UsageError
from accaware.pytorch.compression.acceptance import check_model, counted_flops
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.calibration import BatchNormAdapter, Preparation, RangeMeasurement
from accaware.pytorch.compression.controller import PTCompressionController
from accaware.pytorch.compression.distillation import Distillation
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.compression.pruning.evolution import EvolutionSettings
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.learned_ranking import RankingCallbacks, rank_by_learning
from accaware.pytorch.compression.pruning_with_sparsity import PruningWithSparsity
from accaware.pytorch.compression.quantization_alone import QuantizationAlone
from accaware.pytorch.compression.sizes import SizeReference
from accaware.pytorch.data.training_sample import training_sample
from accaware.pytorch.distributed.agreement import is_one_of_several
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.model.wrappers import recompile, unwrapped
from accaware.pytorch.quantization.quantization import Quantization
from accaware.pytorch.training.distributed_runner import DistributedRunner
from accaware.pytorch.training.runner import TorchRunner
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
        train_loader: needed for quantization, and where the config asks for batchnorm_adaptation;
            a sample of it is tried as well as the example inputs.
        ranking_callbacks: needed for filter pruning with interlayer_ranking_type
            learned_ranking, unless load_ranking_coeffs_path names a file.

    Returns:
        The controller, and the same model.

    Raises:
        CompressionError: the model can't be compressed as asked; says why.
        UsageError: the model has no parameters, or some without values; a scope matches nothing;
            example_inputs, a train_loader or ranking_callbacks
            are missing; ranking coefficients don't fit.
    """
    handed_over, model = model, unwrapped(model)
    check_model(model)
    if train_loader is None:
        _check_needs_no_data(config)
    inputs = ExampleInputs.of(_samples(model, config) if example_inputs is None else example_inputs)
    flops = counted_flops(model, inputs)
    pruning = sparsity = distillation = quantization = None
    if (section := config.filter_pruning) is not None:
        device = next(model.parameters()).device
        sample = None if train_loader is None else training_sample(train_loader, model, device)
        pruning = _filter_pruning(model, section, inputs, flops, [] if sample is None else [sample])
        if _learns_ranking(section):
            _rank_by_learning(pruning, config, section, ranking_callbacks)
    if (sparse := config.magnitude_sparsity) is not None:
        sparsity = _magnitude_sparsity(model, sparse)
    # After learned ranking, which trains the model: nobody is to watch that.
    if (teaching := config.knowledge_distillation) is not None:
        distillation = Distillation(
            model, kind=teaching.type, scale=teaching.scale, temperature=teaching.temperature
        )
    # After the groups were found: these follow a model in which nothing is quantized.
    if (quantizing := config.quantization) is not None:
        quantization = Quantization(model, quantizing, inputs)
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
        preparations=_preparations(config, quantization, train_loader),
    )
    recompile(handed_over)
    return controller, handed_over


def _filter_pruning(
    model: nn.Module,
    section: FilterPruningConfig,
    inputs: ExampleInputs,
    flops: FlopsModel,
    samples: Sequence[ExampleInputs],
) -> FilterPruning:
    params = section.params
    return FilterPruning(
        model,
        _scopes(model, section),
        inputs,
        samples,
        flops=None if params.pruning_flops_target is None else flops,
        importance=params.filter_importance,
        multiple=params.channel_multiple,
        across_layers=params.all_weights or _learns_ranking(section),
        prune_first_conv=params.prune_first_conv,
        prune_downsample_convs=params.prune_downsample_convs,
    )


def _learns_ranking(section: FilterPruningConfig) -> bool:
    return section.params.interlayer_ranking_type == "learned_ranking"


def _rank_by_learning(
    pruning: FilterPruning,
    config: RunConfig,
    section: FilterPruningConfig,
    callbacks: RankingCallbacks | None,
) -> None:
    params, legr = section.params, section.params.legr_params
    load, save = params.load_ranking_coeffs_path, params.save_ranking_coeffs_path
    evolution = EvolutionSettings(
        generations=legr.generations,
        seed=legr.random_seed,
        higher_is_better=config.higher_is_better,
        population=legr.population_size,
        tournament=legr.num_samples,
        mutated_share=legr.mutate_percent,
        scale_sigma=legr.scale_sigma,
    )
    rank_by_learning(
        pruning,
        callbacks,
        evolution,
        train_steps=legr.train_steps,
        max_pruning=legr.max_pruning,
        load=None if load is None else config.directory / load,
        save=None if save is None else config.directory / save,
    )


def _magnitude_sparsity(model: nn.Module, section: MagnitudeSparsityConfig) -> MagnitudeSparsity:
    params = section.params
    return MagnitudeSparsity(
        model,
        _scopes(model, section),
        importance=params.weight_importance,
        local=params.sparsity_level_setting_mode == "local",
    )


def _scopes(model: nn.Module, section: LevelledConfig) -> Scopes:
    target, ignored = section.target_scopes, section.ignored_scopes
    return Scopes(model, target, ignored, validate=section.validate_scopes)


def _make_runner(
    weight_averaging: str,
    model: nn.Module,
    controller: PTCompressionController,
    callbacks: TrainingCallbacks,
    log_dir: str | None,
) -> Runner:
    runner = TorchRunner(model, controller, callbacks, log_dir, weight_averaging=weight_averaging)
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


def _preparations(
    config: RunConfig, quantization: Quantization | None, train_loader: Iterable[Any] | None
) -> list[Preparation]:
    """Statistics of the unquantized network first: the ranges of activations depend on them."""
    if train_loader is None:
        return []
    preparations: list[Preparation] = []
    if samples := _adaptation_samples(config.levelled):
        preparations.append(BatchNormAdapter(train_loader, samples))
    if quantization is not None and config.quantization is not None:
        preparations.append(RangeMeasurement(quantization, train_loader))
        if samples := _adaptation_samples([config.quantization]):
            preparations.append(BatchNormAdapter(train_loader, samples))
    return preparations


def _check_needs_no_data(config: RunConfig) -> None:
    """Refuse what can't be done without training data.

    Raises:
        UsageError: something is to be done on training data.
    """
    if config.quantization is not None:
        raise UsageError(
            "quantization measures the ranges of activations on training data: pass train_loader "
            "to create_compressed_model"
        )
    if _adaptation_samples(config.levelled):
        raise UsageError(
            "initializer.batchnorm_adaptation needs training data: pass train_loader to "
            "create_compressed_model, or set num_bn_adaptation_samples to 0"
        )


def _adaptation_samples(sections: Sequence[LevelledConfig | QuantizationConfig]) -> int:
    """The most that one of them asks for."""
    asked = [section.initializer.batchnorm_adaptation for section in sections]
    return max((each.num_bn_adaptation_samples for each in asked if each is not None), default=0)


def _schedule_config(section: LevelledConfig) -> ScheduleConfig:
    if not isinstance(section, MagnitudeSparsityConfig):
        return ScheduleConfig(schedule=schedule_of(section))
    return ScheduleConfig(
        schedule=schedule_of(section),
        per_optimizer_step=section.params.update_per_optimizer_step,
        steps_per_epoch=section.params.steps_per_epoch,
        freeze_epoch=section.params.sparsity_freeze_epoch,
    )
