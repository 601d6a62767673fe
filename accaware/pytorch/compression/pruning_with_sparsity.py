"""Filter pruning and magnitude sparsity on one model: of the filters that stay, few weights do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks
from accaware.pytorch.compression.magnitude_sparsity import MagnitudeSparsity
from accaware.pytorch.compression.pruning.filter_pruning import FilterPruning
from accaware.search.schedules.several import combined


class PruningWithSparsity:
    """Removes filters, and holds the smallest of the weights that are left at zero.

    The compression rate is 1 - (1 - p)(1 - s), where p is the rate of pruning and s the share of
    zeros among the weights that it leaves. Which filters go is decided by the dense weights.

    Args:
        pruning: nothing is removed yet.
        sparsity: of the same model; nothing is zeroed yet.
    """

    name = "filter_pruning with magnitude_sparsity"

    def __init__(self, pruning: FilterPruning, sparsity: MagnitudeSparsity) -> None:
        self._pruning = pruning
        self._sparsity = sparsity
        self._pruned = 0.0

    @property
    def pruning(self) -> FilterPruning:
        return self._pruning

    @property
    def compression_rate(self) -> float:
        return combined([self._pruning.compression_rate, self._sparsity.compression_rate])

    @property
    def maximal_compression_rate(self) -> float:
        return combined(
            [self._pruning.maximal_compression_rate, self._sparsity.maximal_compression_rate]
        )

    @property
    def excluded(self) -> Sequence[ExcludedLayer]:
        both = (("pruned", self._pruning.excluded), ("made sparse", self._sparsity.excluded))
        return [
            ExcludedLayer(each.layer, f"not {done}: {each.reason}")
            for done, excluded in both
            for each in excluded
        ]

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        """Both take the same share."""
        share = 1 - math.sqrt(1 - target)
        self.set_levels([share, share], optimizers)

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        """The rate of pruning, and that of sparsity among what it leaves."""
        pruned, sparse = levels
        if pruned != self._pruned:
            # Zeros would be in the way twice: filters are judged by their weights, and what is
            # remembered of a filter that goes is what it was.
            self._sparsity.release()
            self._pruning.set_rate(pruned, optimizers)
            self._sparsity.restart()
            self._pruned = pruned
        self._sparsity.set_rate(sparse, optimizers)

    def attach(self, optimizer: Optimizer) -> None:
        self._pruning.attach(optimizer)
        self._sparsity.attach(optimizer)

    def dense_tensors(self) -> Mapping[str, Tensor]:
        kept = self._sparsity.dense_tensors()
        with self._released():
            return {**kept, **self._pruning.dense_tensors()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "pruned": self._pruned,
            "pruning": self._pruning.state_dict(),
            "sparsity": self._sparsity.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self._pruning.load_state_dict(state["pruning"], tensors)
        self._sparsity.restart()
        self._sparsity.load_state_dict(state["sparsity"], tensors)
        self._pruned = state["pruned"]

    def kept_masks(self) -> KeptMasks:
        return self._pruning.kept_masks()

    def describe(self) -> str:
        return f"{self._pruning.describe()}; {self._sparsity.describe()}"

    @contextmanager
    def _released(self) -> Iterator[None]:
        """The weights have their dense values meanwhile."""
        self._sparsity.release()
        try:
            yield
        finally:
            self._sparsity.hold()
