"""Torch's functions without their randomness, and without what they change behind one's back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.nn import functional

DROPOUTS = frozenset(
    ("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
     "feature_dropout_", "alpha_dropout", "alpha_dropout_", "feature_alpha_dropout",
     "feature_alpha_dropout_")
)  # fmt: skip


def call_steadily(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """What a function gives in a container that trains, as its layers would in evaluation.

    Dropout gives what it takes; a batch norm that has running statistics normalises by them, and
    leaves them.
    """
    if getattr(func, "__name__", "") in DROPOUTS:
        return args[0] if args else kwargs["input"]
    if func is functional.batch_norm:
        return _batch_norm(*args, **kwargs)
    return func(*args, **kwargs)


def _batch_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    training = training and (running_mean is None or running_var is None)
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )
