"""The parts of a model that are compressed as one, and one of them compressed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.layout import Layout
from accaware.pytorch.compression.algorithm import CompressionAlgorithm
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.pytorch.compression.pruning.lowest import mask_of
from accaware.pytorch.compression.pruning.ranking import PerGroupRanking, allowed_count
from accaware.pytorch.compression.pruning_with_sparsity import PruningWithSparsity
from accaware.pytorch.model.flops import FlopsModel
from accaware.results.inspection import Part

HALF = 0.5


@dataclass(frozen=True)
class TriedPart:
    """``without`` gives the model with a share of the part removed, as long as it is open."""

    part: Part
    without: Callable[[float], AbstractContextManager[None]]


def parts_of(
    model: nn.Module, algorithm: CompressionAlgorithm, flops: FlopsModel
) -> Sequence[TriedPart]:
    """The parts that the algorithm compresses; none where it has no parts.

    Of pruning with sparsity they are those that are pruned.

    Args:
        model: nothing of it is compressed.
    """
    if isinstance(algorithm, PruningWithSparsity):
        algorithm = algorithm.pruning
    if isinstance(algorithm, FilterPruning):
        return _groups(model, algorithm, flops)
    if isinstance(algorithm, MagnitudeSparsity):
        return _weights(model, algorithm)
    return ()


def _groups(model: nn.Module, pruning: FilterPruning, flops: FlopsModel) -> list[TriedPart]:
    parameters = [name for name, _ in model.named_parameters()]
    dense, total = pruning.compact.dense_shapes(), _elements(model)
    multiple = pruning.multiple
    importances = pruning.importances()
    ranking = PerGroupRanking(pruning.groups, importances, multiple)
    everything = Layout.dense(pruning.groups)

    def alone(at: int, share: float) -> Layout:
        kept = list(everything.kept)
        kept[at] = ranking.layout(share).kept[at]
        return Layout(tuple(kept))

    @contextmanager
    def without(at: int, share: float) -> Iterator[None]:
        pruning.compact.set_layout(alone(at, share))
        try:
            yield
        finally:
            pruning.compact.set_layout(everything)

    tried = []
    for at, group in enumerate(pruning.groups):
        shapes = pruning.compact.shapes_under(alone(at, HALF))
        order = torch.argsort(importances[at], stable=True)
        stays = len(group.indispensable(order, pruning.max_layer_pruning))
        gone = sum(dense[name].numel() - shapes[name].numel() for name in parameters)
        part = Part(
            number=at + 1,
            name=group.name,
            layers=group.producers,
            size=group.size,
            least=allowed_count(stays, group.size, group.together(multiple)),
            saved_parameters=gone / total,
            saved_flops=(flops.dense - flops.count(shapes)) / max(flops.dense, 1),
        )
        tried.append(TriedPart(part, partial(without, at)))
    return tried


def _weights(model: nn.Module, sparsity: MagnitudeSparsity) -> list[TriedPart]:
    total = _elements(model)

    @contextmanager
    def without(weight: Tensor, share: float) -> Iterator[None]:
        # In place, as whoever holds the weight's storage must see the same.
        before = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(mask_of(before.abs().float(), share))
        try:
            yield
        finally:
            with torch.no_grad():
                weight.copy_(before)

    tried = []
    for number, (name, weight) in enumerate(sparsity.weights.items(), start=1):
        part = Part(
            number=number,
            name=name.removesuffix(".weight"),
            layers=(name.rpartition(".")[0],),
            size=weight.numel(),
            least=0,
            saved_parameters=HALF * weight.numel() / total,
            saved_flops=0.0,
        )
        tried.append(TriedPart(part, partial(without, weight)))
    return tried


def _elements(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
