"""Batch norm statistics for a network that has just lost filters.

What a batch gives no statistics of is left out: a single value of each channel has no variance,
and values that aren't finite would stay in the averages for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from accaware.pytorch.data.evaluation import evaluating, first_samples
from accaware.pytorch.model.wrappers import eagerly

_Norm = nn.modules.batchnorm._BatchNorm


def adapt_batchnorm(
    model: nn.Module,
    batches: Iterable[Any],
    samples: int,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda done: None,
) -> None:
    """Re-estimate running means and variances as plain averages over training samples.

    Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning" (2020),
    section 3.3. The variance is the average of the batches' own, each weighted by its samples.
    Nothing but the statistics changes, and every module is left in its mode. A norm that no batch
    gave statistics of keeps those that it had.

    Args:
        batches: of training data; the inputs are the batch, its first element, or its values.
        samples: stop once this many were seen.
        after_batch: told how many samples were seen so far.
    """
    norms = _with_statistics(model)
    if not norms or samples <= 0:
        return
    averages = [_Average(norm) for norm in norms]
    try:
        with evaluating(model), ExitStack() as hooks:
            for average in averages:
                hooks.enter_context(_before_each_call(average.norm, average.before))
            for inputs, size in first_samples(batches, samples, model, device, after_batch):
                for average in averages:
                    average.begin(size)
                inputs.call(model)
                finite = [average.is_finite() for average in averages if average.has_grown]
                keep = not finite or bool(torch.stack(finite).all())
                for average in averages:
                    average.end(keep=keep)
    finally:
        for average in averages:
            average.close()


class _Average:
    """The statistics of one batch norm, averaged over samples."""

    def __init__(self, norm: _Norm) -> None:
        self.norm = norm
        self._momentum = norm.momentum
        self._samples = 0
        self._batch = 0
        self._before: tuple[int, dict[str, Tensor]] = (0, {})

    def begin(self, size: int) -> None:
        """A batch of so many samples comes."""
        self._batch = size
        self._before = self._samples, _statistics(self.norm)

    def before(self, values_per_channel: int) -> None:
        """The norm is called."""
        self.norm.train(values_per_channel > 1)
        if not self.norm.training:
            return
        if not self._samples:
            self.norm.reset_running_stats()
        self._samples += self._batch
        self.norm.momentum = self._batch / self._samples

    @property
    def has_grown(self) -> bool:
        """Whether the batch counts in it so far."""
        return self._samples > self._before[0]

    def is_finite(self) -> Tensor:
        """Whether the statistics are: a scalar."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        return (self.norm.running_mean + self.norm.running_var).isfinite().all()

    def end(self, *, keep: bool) -> None:
        """The batch has gone through; without ``keep`` it counts for nothing."""
        if not keep:
            self._samples, statistics = self._before
            for name, values in statistics.items():
                self.norm.get_buffer(name).copy_(values)

    def close(self) -> None:
        self.norm.momentum = self._momentum


def statistics_of(model: nn.Module) -> list[Tensor]:
    """The running means and variances of all batch norms."""
    found = [(norm.running_mean, norm.running_var) for norm in _with_statistics(model)]
    return [each for pair in found for each in pair if each is not None]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms normalise by each batch's own statistics, and don't remember them.

    By the running ones where a batch has a single value of each channel.
    """
    norms = _with_statistics(model)
    modes = [norm.training for norm in norms]
    with ExitStack() as hooks:
        for norm in norms:
            hooks.enter_context(_before_each_call(norm, partial(_train_on_several, norm)))
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm, training in zip(norms, modes, strict=True):
                norm.train(training)
                norm.track_running_stats = True


@contextmanager
def single_values_allowed(model: nn.Module) -> Iterator[None]:
    """Batch norms in training mode take a batch with a single value of each channel.

    They normalise it by their running statistics, and don't remember it.
    """
    norms = [norm for norm in _with_statistics(model) if norm.training]
    with eagerly(), ExitStack() as hooks:
        for norm in norms:
            hooks.enter_context(_before_each_call(norm, partial(_train_on_several, norm)))
        try:
            yield
        finally:
            for norm in norms:
                norm.train()


def _train_on_several(norm: _Norm, values_per_channel: int) -> None:
    norm.train(values_per_channel > 1)


@contextmanager
def _before_each_call(norm: _Norm, report: Callable[[int], None]) -> Iterator[None]:
    """Before each call of the norm, reports how many values of each channel come."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = next(each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
        report(inputs.numel() // max(inputs.shape[1], 1) if inputs.dim() > 1 else 1)

    handle = norm.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _statistics(norm: _Norm) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in norm.named_buffers(recurse=False)}


def _with_statistics(model: nn.Module) -> list[_Norm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, _Norm) and module.track_running_stats
    ]
