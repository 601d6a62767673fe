"""From a trained model and a config to a controller: the door for training scripts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from accaware.config.algorithms import why_not_runnable
from accaware.config.model import (
    AccAwareConfig,
    FilterPruningConfig,
    LevelledConfig,
    MagnitudeSparsityConfig,
)
from accaware.config.schedule import schedule_of
from accaware.errors import UsageError
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.filter_pruning import FilterPruning
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.controller import BatchNormAdapter, PTCompressionController
from accaware.pytorch.flops import FlopsModel
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.sizes import SizeReference


def create_compressed_model(
    model: nn.Module,
    config: AccAwareConfig,
    example_inputs: Any = None,
    train_loader: Iterable[Any] | None = None,
) -> tuple[PTCompressionController, nn.Module]:
    """Prepare a model for compression; measure its baseline before this.

    Args:
        model: trained. It is compressed in place, and stays dense until a rate is set.
        config: its ``compression`` section says how.
        example_inputs: a tensor, a tuple of positional or a mapping of keyword arguments of the
            model's forward, batch first (a batch of 1 will do), on the model's device; None for
            zeros of the shapes in the config's ``input_info``.
        train_loader: needed where the config asks for batchnorm_adaptation.

    Returns:
        The controller, and the same model.

    Raises:
        CompressionError: the model can't be compressed as asked; says why.
        UsageError: a scope matches nothing, or example_inputs or a train_loader is missing.
    """
    reason = why_not_runnable(config)
    if reason is not None:
        raise UsageError(reason)
    section = config.levelled
    adapter = _adapter(section, train_loader)
    inputs = ExampleInputs.of(_samples(model, config) if example_inputs is None else example_inputs)
    flops = FlopsModel(model, inputs)
    algorithm: CompressionAlgorithm
    if isinstance(section, FilterPruningConfig):
        pruning = FilterPruning(model, section, inputs, flops)
        algorithm, groups = pruning, pruning.groups
    else:
        algorithm, groups = MagnitudeSparsity(model, section), ()
    controller = PTCompressionController(
        model,
        algorithm,
        schedule_of(section),
        SizeReference(model, flops, groups),
        adapter=adapter,
        **_timing(section),
    )
    return controller, model


def _samples(model: nn.Module, config: AccAwareConfig) -> tuple[torch.Tensor, ...]:
    if not config.input_info:
        raise UsageError(
            "pass example_inputs to create_compressed_model, or set input_info in the config"
        )
    first = next(model.parameters(), torch.zeros(()))
    return tuple(first.new_zeros(info.sample_size) for info in config.input_info)


def _adapter(
    section: LevelledConfig, train_loader: Iterable[Any] | None
) -> BatchNormAdapter | None:
    asked = section.initializer.batchnorm_adaptation
    if asked is None or asked.num_bn_adaptation_samples == 0:
        return None
    if train_loader is None:
        raise UsageError(
            "initializer.batchnorm_adaptation needs training data: pass train_loader to "
            "create_compressed_model, or set num_bn_adaptation_samples to 0"
        )
    return BatchNormAdapter(train_loader, asked.num_bn_adaptation_samples)


def _timing(section: LevelledConfig) -> dict[str, Any]:
    if not isinstance(section, MagnitudeSparsityConfig):
        return {}
    return {
        "per_optimizer_step": section.params.update_per_optimizer_step,
        "steps_per_epoch": section.params.steps_per_epoch,
        "freeze_epoch": section.params.sparsity_freeze_epoch,
    }
