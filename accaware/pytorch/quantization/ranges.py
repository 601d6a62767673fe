"""Ranges out of samples: how far a tensor's values reach, by several definitions.

An estimator is shown batches of one tensor and then asked for its range. Its samples are the
entries of the first dimension. Values that aren't finite count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from accaware.pytorch.quantization.settings import RangeSettings

_KEPT = 2**16
"""Values of a batch that are kept for percentiles, evenly spread over it."""


class RangeEstimator(Protocol):
    """Chooses the range of an activation by the batches that it is shown."""

    def observe(self, batch: Tensor) -> None:
        """Look at (N, ...) values."""

    def range(self) -> tuple[float, float] | None:
        """The least and the greatest value to cover; None where nothing was seen."""


def estimator_of(settings: RangeSettings) -> RangeEstimator:
    """The estimator of the type that the settings name.

    Raises:
        ValueError: there is none of this type.
    """
    percentiles = settings.min_percentile / 100, settings.max_percentile / 100
    match settings.type:
        case "min_max":
            return ExtremeRange()
        case "mean_min_max" | "mixed_min_max":
            # NNCF's mixture: the extremes themselves for weights, their means for activations.
            return MeanRange(_extremes)
        case "mean_percentile":
            return MeanRange(lambda samples: _quantiles(samples, *percentiles))
        case "percentile":
            return KeptRange(lambda values: _quantiles(values[None], *percentiles))
        case "threesigma":
            return KeptRange(_three_sigma)
    raise ValueError(f"there is no range of type {settings.type!r}")


class ExtremeRange:
    """From the least value of all to the greatest."""

    def __init__(self) -> None:
        self._range: tuple[float, float] | None = None

    def observe(self, batch: Tensor) -> None:
        """Widen the range to a batch's finite values."""
        least, most = (float(end) for end in torch.aminmax(batch))
        if not math.isfinite(least + most):
            batch = batch[batch.isfinite()]
            if not len(batch):
                return
            least, most = (float(end) for end in torch.aminmax(batch))
        known = self._range or (least, most)
        self._range = min(known[0], least), max(known[1], most)

    def range(self) -> tuple[float, float] | None:
        """The least and the greatest value that was seen."""
        return self._range


class MeanRange:
    """The mean over all samples of each one's own range.

    Args:
        ends: (N, V) samples -> (N,) lower and (N,) upper ends.
    """

    def __init__(self, ends: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self._ends = ends
        self._sums = torch.zeros(2, dtype=torch.float64)
        self._samples = 0

    def observe(self, batch: Tensor) -> None:
        """Add each sample's ends to the sums, but for samples with a non-finite value."""
        samples = batch.flatten(1) if batch.dim() > 1 else batch[None]
        ends = torch.stack(self._ends(samples)).double()
        if not ends.sum().isfinite():
            # A sample in which one value is wrong tells little by its others.
            samples = samples[samples.isfinite().all(1)]
            ends = torch.stack(self._ends(samples)).double()
        self._sums += ends.sum(1).cpu()
        self._samples += len(samples)

    def range(self) -> tuple[float, float] | None:
        """The samples' ends, averaged."""
        if not self._samples:
            return None
        least, most = (self._sums / self._samples).tolist()
        return least, most


class KeptRange:
    """A range out of all the values at once, or of so many of them as can be kept.

    Args:
        ends: (V,) values -> (1,) lower and (1,) upper end.
    """

    def __init__(self, ends: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self._ends = ends
        self._kept: list[Tensor] = []

    def observe(self, batch: Tensor) -> None:
        """Keep a batch's finite values, evenly thinned out where they are many."""
        values = batch.flatten()
        values = values[:: -(-len(values) // _KEPT)].float().cpu()
        values = values[values.isfinite()]
        if len(values):
            self._kept.append(values)

    def range(self) -> tuple[float, float] | None:
        """The range of all that was kept."""
        if not self._kept:
            return None
        least, most = self._ends(torch.cat(self._kept))
        return float(least), float(most)


def _extremes(samples: Tensor) -> tuple[Tensor, Tensor]:
    return samples.amin(1), samples.amax(1)


def _quantiles(samples: Tensor, lower: float, upper: float) -> tuple[Tensor, Tensor]:
    """By the nearest rank, as torch.quantile takes no more than 16 million values."""
    ordered = samples.float().sort(dim=1).values
    last = ordered.shape[1] - 1
    return ordered[:, round(lower * last)], ordered[:, round(upper * last)]


def _three_sigma(values: Tensor) -> tuple[Tensor, Tensor]:
    """Three robust standard deviations around the median of what isn't zero.

    Behind a ReLU most values are zero, and would make the deviation zero too. The median absolute
    deviation of normally distributed values is 0.6745 standard deviations (Rousseeuw and Croux,
    "Alternatives to the Median Absolute Deviation", 1993).
    """
    values = values[values != 0]
    if not len(values):
        return torch.zeros(()), torch.zeros(())
    median = values.median()
    sigma = (values - median).abs().median() / 0.6745
    least, most = torch.aminmax(values)
    return torch.maximum(median - 3 * sigma, least), torch.minimum(median + 3 * sigma, most)
