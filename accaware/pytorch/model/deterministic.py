"""Torch's functions without their randomness, and without what they change behind one's back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
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
    shaped = _SLOW_WITHOUT_VALUES.get(func)
    if shaped is not None and (outputs := shaped(*args, **kwargs)) is not None:
        return outputs
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


def _same_shape(
    input: Tensor, memory_format: torch.memory_format = torch.preserve_format
) -> Tensor | None:
    """What has its shape on the meta device; None elsewhere."""
    return torch.empty_like(input, memory_format=memory_format) if input.is_meta else None


def _own_shape(input: Tensor, *_: Any, **__: Any) -> Tensor | None:
    return _same_shape(input)


def _batch_norm_shape(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    *_: Any,
    **__: Any,
) -> Tensor | None:
    """What a batch norm gives there; None, too, where it refuses its input."""
    own = [each for each in (running_mean, running_var, weight, bias) if each is not None]
    fits = input.dim() > 1 and all(each.shape == input.shape[1:2] for each in own)
    return _same_shape(input) if fits else None


def _layer_norm_shape(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, *_: Any, **__: Any
) -> Tensor | None:
    shape = torch.Size(normalized_shape)
    own = [each.shape for each in (weight, bias) if each is not None]
    fits = all(each == shape for each in (input.shape[input.dim() - len(shape) :], *own))
    # In order, whatever the order is in which the input's elements lie.
    return _same_shape(input, torch.contiguous_format) if fits else None


def _linear_shape(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = (
        input.is_meta
        and input.dim() > 0
        and weight.dim() == 2
        and input.shape[-1] == weight.shape[1]
        and input.dtype == weight.dtype
        and (bias is None or bias.shape == weight.shape[:1])
    )
    return input.new_empty((*input.shape[:-1], weight.shape[0])) if fits else None


_SLOW_WITHOUT_VALUES: Mapping[Any, Callable[..., Tensor | None]] = {
    functional.batch_norm: _batch_norm_shape,
    functional.layer_norm: _layer_norm_shape,
    functional.gelu: _own_shape,
    functional.linear: _linear_shape,
    functional.normalize: _own_shape,
}
"""Torch takes milliseconds for the shape of what they give, which is known from what they take."""
