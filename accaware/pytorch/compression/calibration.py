"""What is done on training samples whenever a model has a new rate, before it is trained.

Of several processes each looks at its own samples, and all take what the first one found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import nn

from accaware.pytorch.data.batch_statistics import adapt_batchnorm, statistics_of
from accaware.pytorch.distributed.agreement import agreed, is_one_of_several, take_from_first
from accaware.pytorch.quantization.quantization import Quantization


class Preparation(Protocol):
    """Looks at training samples; nothing of the model is trained by it.

    Attributes:
        activity: what it does, in a few words.
        for_average: whether an average of weights needs it too, though its rate isn't new.
        after_batch: told how many samples were seen so far.
    """

    activity: str
    for_average: bool
    after_batch: Callable[[int], None]

    @property
    def samples(self) -> int:
        """How many it looks at each time."""

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Measure it anew on a model that has just been compressed."""


class BatchNormAdapter:
    """Re-estimates batch norm statistics.

    Args:
        batches: a data loader of training data.
        samples: how many to use each time.
    """

    activity = "batch norm adaptation"
    for_average = True

    def __init__(self, batches: Iterable[Any], samples: int) -> None:
        self._batches = batches
        self.samples = samples
        self.after_batch: Callable[[int], None] = lambda done: None

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Re-estimate the statistics; several processes all take the first one's."""
        adapt_batchnorm(model, self._batches, self.samples, device, self.after_batch)
        take_from_first(statistics_of(model))


class RangeMeasurement:
    """Makes quantization active and measures its ranges.

    Args:
        batches: a data loader of training data.
    """

    activity = "measuring the ranges of activations"
    for_average = False

    def __init__(self, quantization: Quantization, batches: Iterable[Any]) -> None:
        self._quantization = quantization
        self._batches = batches
        self.after_batch: Callable[[int], None] = lambda done: None

    @property
    def samples(self) -> int:
        """How many training samples are shown to the quantizers."""
        return self._quantization.samples

    def prepare(self, model: nn.Module, device: torch.device) -> None:
        """Switch quantization on and measure its ranges; all processes take the first one's."""
        self._quantization.active = True
        self._quantization.measure(self._batches, device, self.after_batch)
        if is_one_of_several():
            self._quantization.load_state_dict(agreed(self._quantization.state_dict()))
