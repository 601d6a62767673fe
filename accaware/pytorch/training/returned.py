"""What the user's functions returned, checked to be what they should return."""

from __future__ import annotations

import reprlib
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from accaware.errors import PluginContractError
from accaware.pytorch.training.learning_rate import schedulers_in
from accaware.search.metric import Metric


def number_of(value: Any, function: str, wanted: str) -> float:
    """A float out of a number, or of a tensor or an array of one element; it may be a NaN.

    A ``Metric`` keeps its samples.

    Raises:
        PluginContractError: it is none of these.
    """
    if isinstance(value, Metric):
        return value
    number = value
    try:
        if isinstance(value, Tensor):
            number = value.item()
        elif getattr(value, "size", None) == 1 and hasattr(value, "item"):
            number = value.item()  # NumPy's arrays and numbers
        # Text has no __float__, though float() takes it; True is an answer, not a measure.
        if isinstance(number, bool) or not hasattr(type(number), "__float__"):
            raise TypeError
        return float(number)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise PluginContractError(
            f"{function} must return {wanted}; it returned {named(value)}"
        ) from None


def named(value: Any) -> str:
    """A value and its type in a few words, for messages."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return f"{' '.join(reprlib.repr(value).split())} ({type(value).__name__})"


def optimizer_and_schedule(made: Any) -> tuple[Optimizer, Any]:
    """What configure_optimizers returned, as a pair; the schedule is None where it gave none.

    Raises:
        PluginContractError: it is something else.
    """
    pair = isinstance(made, (tuple, list)) and len(made) == 2
    optimizer, scheduler = made if pair else (made, None)
    if not isinstance(optimizer, Optimizer):
        raise PluginContractError(
            "configure_optimizers must return an optimizer, or (optimizer, scheduler); "
            f"it returned {named(made)}"
        )
    for schedule in schedulers_in(scheduler):
        if isinstance(schedule, Optimizer) or not callable(getattr(schedule, "step", None)):
            raise PluginContractError(
                "configure_optimizers must return an optimizer, or (optimizer, scheduler) with a "
                f"scheduler that has step(); its second entry is {named(schedule)}"
            )
    return optimizer, scheduler
