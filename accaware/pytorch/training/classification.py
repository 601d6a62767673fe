"""The training that a plugin gets where it brings none of its own: classification."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.errors import PluginContractError
from accaware.pytorch.data.batch_statistics import single_values_allowed
from accaware.pytorch.data.batches import inputs_of, targets_of
from accaware.pytorch.distributed.agreement import is_one_of_several
from accaware.pytorch.model.inputs import batch_size_of
from accaware.pytorch.training.mixed_precision import MixedPrecision
from accaware.search.metric import Metric

_BY_SAMPLE = "accaware_by_sample"

Validate = TypeVar("Validate", bound=Callable[..., Any])
Loss = Callable[[Any, Any], Tensor]


class Compression(Protocol):
    """The part of the compression that training meets."""

    def step(self) -> None:
        """Once after each optimizer step."""

    def loss(self) -> Tensor:
        """A term to add to the loss; zero where the algorithm has none."""


def cross_entropy(outputs: Any, targets: Tensor) -> Tensor:
    """Mean cross entropy of (N, K) logits and (N,) classes."""
    return nn.functional.cross_entropy(logits_of(outputs), checked_classes(targets))


def logits_of(outputs: Any) -> Tensor:
    """The (N, K) logits; of a model with auxiliary heads, the main head's.

    An object with ``logits``, such as transformers' models give, counts as these.

    Raises:
        PluginContractError: the outputs are none.
    """
    outputs = getattr(outputs, "logits", outputs)
    main = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
    if isinstance(main, Tensor) and main.dim() == 2:
        return main
    raise _not_classification("(N, classes) outputs", main)


def checked_classes(targets: Any) -> Tensor:
    """The targets, if they are (N,) numbers of classes.

    Raises:
        PluginContractError: they are something else.
    """
    if isinstance(targets, Tensor) and targets.dim() == 1 and not targets.is_floating_point():
        return targets
    raise _not_classification("(N,) integer targets", targets)


def _not_classification(needed: str, got: Any) -> PluginContractError:
    if isinstance(got, Tensor):
        found = f"a {str(got.dtype).removeprefix('torch.')} tensor of shape {list(got.shape)}"
    else:
        found = type(got).__name__
    return PluginContractError(
        f"the default training and validation are for classification and need {needed}, not "
        f"{found}; this model needs a train_epoch and a validate of the plugin's own"
    )


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: Optimizer,
    compression: Compression,
    loss_of: Loss = cross_entropy,
    precision: MixedPrecision | None = None,
) -> float:
    """One pass over the training data; the mean loss, weighted by batch size.

    A loss that isn't finite ends the epoch at once: the model is beyond repair. One of several
    processes goes on to its end, as the others, whose loss may be another, would wait for it.

    Args:
        precision: None for the full one.

    Raises:
        PluginContractError: there is no data, or it isn't for classification; nothing can be
            learned from the loss.
    """
    model.train()
    total, samples = 0.0, 0
    for batch in loader:
        targets = targets_of(batch)
        with _forward(precision, targets), single_allowed_in(batch, model):
            loss = loss_of(inputs_of(batch, model).call(model), targets)
        loss = loss + compression.loss()
        if not loss.requires_grad:
            raise PluginContractError(
                "the loss has no gradient: it was detached from the model's outputs, or no "
                "parameter is trained"
            )
        optimizer.zero_grad()
        if precision is None:
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        else:
            precision.step(loss, optimizer)
        compression.step()
        value, size = loss.item(), batch_size_of(batch)
        if not math.isfinite(value) and not is_one_of_several():
            return value
        total += value * size
        samples += size
    if not samples:
        raise PluginContractError("the training data is empty")
    return total / samples


def by_sample(validate: Validate) -> Validate:
    """Mark a plugin's validate whose Metric has ``per_sample``: each process may judge a part."""
    setattr(validate, _BY_SAMPLE, True)
    return validate


def is_by_sample(validate: Any) -> bool:
    """Whether ``by_sample`` was said of it."""
    return getattr(validate, _BY_SAMPLE, False)


@by_sample
def validate(
    model: nn.Module, loader: Iterable[Any], precision: MixedPrecision | None = None
) -> Metric:
    """Top-1 accuracy in percent, and of each sample whether it is right.

    Args:
        precision: None for the full one.

    Raises:
        PluginContractError: there is no data, or it isn't for classification.
    """
    model.eval()
    right: list[Tensor] = []
    with torch.no_grad():
        for batch in loader:
            targets = checked_classes(targets_of(batch))
            with _forward(precision, targets):
                outputs = inputs_of(batch, model).call(model)
            predicted = logits_of(outputs).argmax(dim=1)
            right.append(predicted == targets)
    samples = sum(map(len, right))
    if not samples:
        raise PluginContractError("the validation data is empty")
    correct = torch.cat(right)
    return Metric(100 * int(correct.sum()) / samples, per_sample=correct)


def single_allowed_in(batch: Any, model: nn.Module) -> AbstractContextManager[object]:
    """Batch norm can't train on a batch of one, the last one of many loaders."""
    return single_values_allowed(model) if batch_size_of(batch) == 1 else nullcontext()


def _forward(precision: MixedPrecision | None, targets: Any) -> AbstractContextManager[object]:
    if precision is None or not isinstance(targets, Tensor):
        return nullcontext()
    return precision.forward(targets.device)
