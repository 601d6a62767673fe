"""Filter pruning and magnitude sparsity on one model: of the filters that stay, few weights do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
        """The part of it that removes filters."""
        return self._pruning

    @property
    def compression_rate(self) -> float:
        """The share that both remove together: sparsity takes its share of what pruning leaves."""
        return combined([self._pruning.compression_rate, self._sparsity.compression_rate])

    @property
    def maximal_compression_rate(self) -> float:
        """The rate where both are at their own maximum."""
        return combined(
            [self._pruning.maximal_compression_rate, self._sparsity.maximal_compression_rate]
        )

    @property
    def excluded(self) -> Sequence[ExcludedLayer]:
        """What either excludes; the reason says which of the two."""
        both = (("pruned", self._pruning.excluded), ("made sparse", self._sparsity.excluded))
        return [
            replace(each, reason=f"not {done}: {each.reason}")
            for done, excluded in both
            for each in excluded
        ]

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        """Pruning takes the first layout at or above its half of it, and sparsity the rest.

        What is left of a rate is divided evenly, so both take the same share where pruning can.
        """
        share = 1 - math.sqrt(1 - target)
        self._prune(share, optimizers)
        left = 1 - self._pruning.compression_rate
        self._sparsity.set_rate(max(0.0, 1 - (1 - target) / left), optimizers)

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        """The rate of pruning, and that of sparsity among what it leaves."""
        pruned, sparse = levels
        self._prune(pruned, optimizers)
        self._sparsity.set_rate(sparse, optimizers)

    def attach(self, optimizer: Optimizer) -> None:
        """Let both follow an optimizer before it steps."""
        self._pruning.attach(optimizer)
        self._sparsity.attach(optimizer)

    def dense_tensors(self) -> Mapping[str, Tensor]:
        """The dense form of all that either compresses, zeroed weights brought back."""
        kept = self._sparsity.dense_tensors()
        with self._released():
            return {**kept, **self._pruning.dense_tensors()}

    def state_dict(self) -> dict[str, Any]:
        """The state of both, and the rate of the pruning."""
        return {
            "pruned": self._pruned,
            "pruning": self._pruning.state_dict(),
            "sparsity": self._sparsity.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Bring back the pruned shapes first, as the masks of sparsity have those."""
        self._pruning.load_state_dict(state["pruning"], tensors)
        self._sparsity.restart()
        self._sparsity.load_state_dict(state["sparsity"], tensors)
        self._pruned = state["pruned"]

    def kept_masks(self) -> KeptMasks:
        """The pruning's; sparsity changes no shape."""
        return self._pruning.kept_masks()

    def describe(self) -> str:
        """What both say of themselves, on one line."""
        return f"{self._pruning.describe()}; {self._sparsity.describe()}"

    def warnings(self) -> Sequence[str]:
        """What both have to say."""
        return (*self._pruning.warnings(), *self._sparsity.warnings())

    def _prune(self, pruned: float, optimizers: Iterable[Optimizer]) -> None:
        if pruned != self._pruned:
            # Zeros would be in the way twice: filters are judged by their weights, and what is
            # remembered of a filter that goes is what it was.
            self._sparsity.release()
            self._pruning.set_rate(pruned, optimizers)
            self._sparsity.restart()
            self._pruned = pruned

    @contextmanager
    def _released(self) -> Iterator[None]:
        """The weights have their dense values meanwhile."""
        self._sparsity.release()
        try:
            yield
        finally:
            self._sparsity.hold()
