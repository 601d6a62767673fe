"""A model's parts with another forward: for code that asks a model for more than its outputs."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn

from accaware.pytorch.training.mixed_precision import full_precision


def with_forward(model: nn.Module, forward: Callable[..., Any]) -> nn.Module:
    """A model of the same class that shares all parts with another one, and has its own forward.

    What is hooked onto the model as a whole belongs to its forward, and isn't taken over. A forward
    without a signature of its own gets the old one's, by which it is known how inputs go in.
    """
    made: nn.Module = object.__new__(type(model))
    made.__dict__.update(vars(model))
    for name in vars(model):
        if name.startswith("_forward_") and "hooks" in name:
            made.__dict__[name] = OrderedDict()
    made.__dict__["_compiled_call_impl"] = None
    made.__dict__["forward"] = _signed_as(model.forward, forward)
    return made


def _signed_as(old: Callable[..., Any], new: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(new, "__signature__"):
        return new

    def forward(*args: Any, **kwargs: Any) -> Any:
        return new(*args, **kwargs)

    with suppress(TypeError, ValueError):  # a forward that isn't written in Python has none
        forward.__signature__ = inspect.signature(old)  # type: ignore[attr-defined]
    return forward


def in_full_precision(model: nn.Module) -> nn.Module:
    """The model, which leaves autocast where somebody has entered it around a forward."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        with full_precision():
            return model(*args, **kwargs)

    made = with_forward(model, forward)

    def train(mode: bool = True) -> nn.Module:
        model.train(mode)
        made.training = mode
        return made

    made.__dict__["train"] = train
    return made
