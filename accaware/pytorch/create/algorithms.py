"""Sections of a config as algorithms on a model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from accaware.config.model.config import (
    FilterPruningConfig,
    KnowledgeDistillationConfig,
    MagnitudeSparsityConfig,
    RunConfig,
)
from accaware.pytorch.compression.distillation import Distillation, gives_class_scores
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.compression.pruning.evolution import EvolutionSettings
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.learned_ranking import RankingCallbacks, rank_by_learning
from accaware.pytorch.create.scopes import scopes_of
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs


def filter_pruning_of(
    model: nn.Module,
    section: FilterPruningConfig,
    inputs: ExampleInputs,
    flops: FlopsModel,
    samples: Sequence[ExampleInputs],
) -> FilterPruning:
    """Filter pruning as its section asks for it; the ranking isn't learned yet.

    Args:
        flops: the dense model's.
        samples: to try the model with as well as with ``inputs``.

    Raises:
        CompressionError: nothing of the model can be pruned, or its channels can't be traced.
        UsageError: a scope matches nothing.
    """
    params, learns = section.params, _learns_ranking(section)
    return FilterPruning(
        model,
        scopes_of(model, section),
        inputs,
        samples,
        flops=None if params.pruning_flops_target is None else flops,
        importance=params.filter_importance,
        multiple=params.channel_multiple,
        across_layers=params.allocation != "uniform" or learns,
        # Coefficients were and are learned for sums, and find the layers' balance themselves.
        coupled_importance="sum" if learns else params.coupled_importance,
        cost=flops.count if params.allocation == "cost_aware" else None,
        max_layer_pruning=1.0 if learns else params.max_layer_pruning,
        prune_first_conv=params.prune_first_conv,
        prune_downsample_convs=params.prune_downsample_convs,
    )


def learn_ranking(
    pruning: FilterPruning,
    config: RunConfig,
    section: FilterPruningConfig,
    callbacks: RankingCallbacks | None,
) -> None:
    """Learn the ranking of the filters, or load it, where the section asks for that.

    Args:
        config: the whole of which the section is a part.

    Raises:
        UsageError: the callbacks are missing, nothing can be learned as asked, or coefficients
            don't fit the model.
        RunError: no candidate had a metric that is a number.
        OSError: the coefficients can't be saved.
    """
    if not _learns_ranking(section):
        return
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


def magnitude_sparsity_of(
    model: nn.Module, section: MagnitudeSparsityConfig, inputs: ExampleInputs
) -> MagnitudeSparsity:
    """Magnitude sparsity as its section asks for it.

    Args:
        inputs: to follow the model with.

    Raises:
        CompressionError: no layer is left to cover.
        UsageError: a scope matches nothing.
    """
    params = section.params
    return MagnitudeSparsity(
        model,
        scopes_of(model, section),
        inputs,
        importance=params.weight_importance,
        local=params.sparsity_level_setting_mode == "local",
        semi_structured=params.sparsity_pattern == "2:4",
        embeddings=params.sparsify_embeddings,
    )


def distillation_of(
    model: nn.Module,
    section: KnowledgeDistillationConfig,
    inputs: ExampleInputs,
    *,
    higher_is_better: bool,
) -> Distillation:
    """Distillation as its section asks for it; the model as it is now is the teacher.

    Args:
        inputs: for which the model's outputs are looked at where type is auto.
        higher_is_better: whether a larger metric is the better one.
    """
    kind = section.type
    if kind == "auto":
        kind = "kl" if higher_is_better and gives_class_scores(model, inputs) else "mse"
    return Distillation(model, kind=kind, scale=section.scale, temperature=section.temperature)


def _learns_ranking(section: FilterPruningConfig) -> bool:
    return section.params.interlayer_ranking_type == "learned_ranking"
