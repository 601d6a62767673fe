"""What a config asks to be done on training data whenever a model has a new rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from accaware.config.model.config import LevelledConfig, RunConfig
from accaware.config.model.quantization import QuantizationConfig
from accaware.errors import UsageError
from accaware.pytorch.compression.calibration import BatchNormAdapter, Preparation, RangeMeasurement
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.reconstruction import Reconstruction
from accaware.pytorch.quantization.quantization import Quantization


def preparations_of(
    config: RunConfig, quantization: Quantization | None, train_loader: Iterable[Any] | None
) -> list[Preparation]:
    """Batch norm adaptation and the measurement of ranges, in the order in which they are done.

    Statistics of the unquantized network come first: the ranges of activations depend on them.
    None is done without a ``train_loader``.
    """
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


def reconstruction_of(
    config: RunConfig, pruning: FilterPruning, train_loader: Iterable[Any] | None
) -> Reconstruction | None:
    """Least-squares reconstruction; None where it isn't asked for, and without a loader."""
    samples = _reconstruction_samples(config)
    if train_loader is None or not samples:
        return None
    return Reconstruction(pruning.compact, train_loader, samples)


def check_needs_no_data(config: RunConfig) -> None:
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
            "initializer.batchnorm_adaptation (of the config, or of its preset) needs training "
            "data: pass train_loader to create_compressed_model, or set num_bn_adaptation_samples "
            "to 0"
        )
    if _reconstruction_samples(config):
        raise UsageError(
            "reconstruction_samples (of the config, or of its preset) needs training data: pass "
            "train_loader to create_compressed_model, or set it to 0"
        )


def _reconstruction_samples(config: RunConfig) -> int:
    return (
        0 if config.filter_pruning is None else config.filter_pruning.params.reconstruction_samples
    )


def _adaptation_samples(sections: Sequence[LevelledConfig | QuantizationConfig]) -> int:
    """The most that one of them asks for."""
    asked = [section.initializer.batchnorm_adaptation for section in sections]
    return max((each.num_bn_adaptation_samples for each in asked if each is not None), default=0)
