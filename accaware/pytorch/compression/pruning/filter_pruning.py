"""Filter pruning: whole filters are removed for real, with all that depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.errors import CheckpointError, CompressionError
from accaware.pytorch.channels.compact import CompactModel
from accaware.pytorch.channels.filters import FilterCount
from accaware.pytorch.channels.groups import find_dependencies
from accaware.pytorch.channels.layout import ChannelGroup, KeptMasks, Layout
from accaware.pytorch.channels.verification import verify_groups
from accaware.pytorch.compression.pruning.coefficients import Coefficients
from accaware.pytorch.compression.pruning.importance import (
    Cost,
    channel_importances,
    channel_savings,
    layer_of,
)
from accaware.pytorch.compression.pruning.ranking import GlobalRanking, PerGroupRanking, Ranking
from accaware.pytorch.compression.pruning.reconstruction import Reconstruction
from accaware.pytorch.compression.pruning.selection import by_module, select_groups
from accaware.pytorch.compression.pruning.taylor import TaylorImportance
from accaware.pytorch.model.flops import FlopsModel
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes

_BISECTIONS = 24
"""Halvings of the level that gives a rate: finer than any model's filters."""

_NO_GRADIENTS = (
    "filter_importance taylor: a rate was set before any training step, so there was no gradient "
    "to judge filters by, and L2 did"
)


class FilterPruning:
    """Removes filters by their importance.

    The compression rate is the share of filters removed among those of the layers that can
    lose any, or, with ``flops``, the share of the model's FLOPs removed.

    Args:
        model: trained and dense; it is sliced in place from here on.
        scopes: the layers that may lose filters.
        inputs: example inputs, to trace the model with.
        samples: other inputs to try the groups on, of the training data say.
        flops: the dense model's operations, where the rate is about these; None where it is
            about filters.
        importance: of a filter; one of ``IMPORTANCES``, or ``taylor``, which is L2 until a step
            of an attached optimizer was seen.
        multiple: kept channels come in multiples of this where the group is wide enough.
        across_layers: filters of all layers are ranked together; else each group loses the
            same share.
        coupled_importance: across layers and by weights, whether the ``mean`` or the ``sum`` of
            filters that go together is compared with others. By the sum, channels that many
            layers share (a residual stream) are nearly always above those of a single layer.
        cost: across layers, in place of that: what goes together is judged by its sum over what
            the dense model's cost loses with it. None for coupled_importance.
        max_layer_pruning: across layers, the share of a layer's filters that may go at most.
        prune_first_conv: whether the first convolutions may lose filters.
        prune_downsample_convs: whether convolutions with a stride may.

    Raises:
        CompressionError: nothing of the model can be pruned, or its channels can't be traced.
    """

    name = "filter_pruning"

    def __init__(
        self,
        model: nn.Module,
        scopes: Scopes,
        inputs: ExampleInputs,
        samples: Sequence[ExampleInputs] = (),
        *,
        flops: FlopsModel | None = None,
        importance: str = "L2",
        multiple: int = 1,
        across_layers: bool = False,
        coupled_importance: str = "mean",
        cost: Cost | None = None,
        max_layer_pruning: float = 1.0,
        prune_first_conv: bool = False,
        prune_downsample_convs: bool = False,
    ) -> None:
        self.importance = importance
        self.multiple = multiple
        self._across_layers = across_layers
        self._by_mean = across_layers and coupled_importance == "mean"
        self.max_layer_pruning = max_layer_pruning if across_layers else 1.0
        self._coefficients: Coefficients | None = None
        self.reconstruction: Reconstruction | None = None
        """Corrects what reads removed channels; None leaves it as it is."""
        dependencies = find_dependencies(model, inputs)
        allowed, forbidden = select_groups(
            model,
            dependencies,
            scopes,
            prune_first_conv=prune_first_conv,
            prune_downsample_convs=prune_downsample_convs,
        )
        groups, faulty = verify_groups(
            model,
            allowed,
            dependencies.reached,
            inputs,
            *samples,
            by_size=dependencies.by_size,
        )
        self.excluded = by_module(model, [*dependencies.excluded, *forbidden, *faulty])
        if not groups:
            reasons = "; ".join(f"{entry.layer}: {entry.reason}" for entry in self.excluded[:3])
            raise CompressionError(
                f"no filter of {type(model).__name__} can be pruned ({reasons or 'no layers'})"
            )
        self.compact = CompactModel(model, groups)
        self._taylor = TaylorImportance(self.compact) if importance == "taylor" else None
        self._lacked_gradients = False
        self._savings = None if cost is None else channel_savings(self.compact, cost)
        self._flops = flops
        self._filters = FilterCount.of_groups(groups)
        self._dense_filters = self._filters.count(self.compact.dense_shapes())
        self.maximal_compression_rate = self._maximal_rate()

    @property
    def ranked_layers(self) -> Sequence[str]:
        """The layers whose filters are ranked, in the order of the groups."""
        return [layer_of(slot) for group in self.groups for slot in group.producing_weights()]

    @property
    def coefficients(self) -> Coefficients | None:
        """Of learned ranking, for all of ``ranked_layers``; None until it has learned any."""
        return self._coefficients

    @coefficients.setter
    def coefficients(self, coefficients: Coefficients) -> None:
        self._coefficients = coefficients
        self.maximal_compression_rate = self._maximal_rate()

    @property
    def groups(self) -> Sequence[ChannelGroup]:
        """The coupled channels that are pruned."""
        return self.compact.groups

    @property
    def compression_rate(self) -> float:
        """The share of the filters, or of the FLOPs, that is gone; by the live tensors' shapes."""
        return self._rate(self.compact.live_shapes())

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        """Rank the filters on dense weights and remove the lowest; rate 0 brings all back."""
        self._lacked_gradients = target > 0 and self._taylor is not None and not self._taylor.seen
        layout = Layout.dense(self.groups) if target <= 0 else self._layout_at(target)
        if self.reconstruction is not None:
            self.reconstruction.set_layout(layout, optimizers)
            return
        # Ranking has asked for the dense tensors.
        self.compact.set_layout(layout, optimizers, gathered=target > 0)

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        """The one schedule's level is the rate."""
        (target,) = levels
        self.set_rate(target, optimizers)

    def attach(self, optimizer: Optimizer) -> None:
        """Judge filters by its gradients, where these count; what was removed needs no care."""
        if self._taylor is not None:
            self._taylor.attach(optimizer)

    def dense_tensors(self) -> Mapping[str, Tensor]:
        """The dense form of every tensor that channels lie along, trained values included."""
        return self.compact.dense_tensors()

    def state_dict(self) -> dict[str, Any]:
        """The channels that are kept, the dense form of the tensors, and what was seen of steps."""
        return {
            "kept": list(self.compact.layout.kept),
            "dense": self.compact.dense_form(),
            "taylor": self._taylor and self._taylor.state_dict(),
            "reconstruction": self.reconstruction and self.reconstruction.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Give the model the layout of the state, with the dense form behind it.

        Raises:
            CheckpointError: its channel groups are another model's.
        """
        kept = tuple(state["kept"])
        if [len(mask) for mask in kept] != [group.size for group in self.groups]:
            raise CheckpointError("the checkpoint's channel groups are not this model's")
        self.compact.load(Layout(kept), state["dense"], tensors)
        if self._taylor is not None:
            self._taylor.load_state_dict(state["taylor"])
        if self.reconstruction is not None:
            self.reconstruction.load_state_dict(state.get("reconstruction"))

    def kept_masks(self) -> KeptMasks:
        """Of each tensor that lost channels, the positions that are kept."""
        return self.compact.kept_masks

    def describe(self) -> str:
        """How many layers and groups are covered, and the share that is removed."""
        layers = len({weight.rpartition(".")[0] for weight in self._filters.places})
        unit = "filters" if self._flops is None else "FLOPs"
        return (
            f"filter pruning of {layers} layers in {len(self.groups)} groups: "
            f"{self.compression_rate:.1%} of the {unit} removed"
        )

    def warnings(self) -> Sequence[str]:
        """That filters were ranked by their weights, as there was no gradient to do it by."""
        return (_NO_GRADIENTS,) if self._lacked_gradients else ()

    def importances(self) -> list[Tensor]:
        """For each group the (C,) importances that its channels are ranked by."""
        gradients = self._taylor if self._taylor is not None and self._taylor.seen else None
        found = channel_importances(
            self.groups,
            self.compact.dense_weights(),
            "L2" if self.importance == "taylor" else self.importance,
            comparable=self._across_layers or gradients is not None,
            coefficients=self._coefficients,
        )
        if gradients is not None:
            found = gradients.channel_importances(found)
        if self._savings is not None:
            # By weights all layers are worth the same as a whole, and so are filters of wide ones
            # less than others. A gradient tells of a channel as it is.
            worth = [1 if gradients is not None else group.size for group in self.groups]
            parts = zip(found, self._savings, worth, strict=True)
            return [scores / (spared * size) for scores, spared, size in parts]
        if gradients is None and self._by_mean:
            pairs = zip(found, self.groups, strict=True)
            return [scores / group.filters_per_channel() for scores, group in pairs]
        return found

    def _ranking(self) -> Ranking:
        if self._across_layers:
            return GlobalRanking(
                self.groups, self.importances(), self.multiple, self.max_layer_pruning
            )
        return PerGroupRanking(self.groups, self.importances(), self.multiple)

    def _maximal_rate(self) -> float:
        return self._rate(self.compact.shapes_under(self._ranking().layout(1.0)))

    def _layout_at(self, target: float) -> Layout:
        """The first layout that removes at least ``target``; the last one, where none does."""
        ranking = self._ranking()

        def rate(level: float) -> float:
            if self._flops is None:
                return ranking.filters_removed(level) / self._dense_filters
            return self._rate(self.compact.shapes_under(ranking.layout(level)))

        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if rate(middle) >= target else (middle, high)
        return ranking.layout(high)

    def _rate(self, shapes: Mapping[str, torch.Size]) -> float:
        """The one definition of the rate, of the live tensors' shapes or a layout's."""
        if self._flops is not None:
            return (self._flops.dense - self._flops.count(shapes)) / self._flops.dense
        return (self._dense_filters - self._filters.count(shapes)) / self._dense_filters
