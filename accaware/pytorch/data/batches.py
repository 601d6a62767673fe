"""Batches as data loaders give them: a tensor, (inputs, targets), or a mapping.

Inputs may lie flat, ``(a, b, targets)``, or together, ``((a, b), targets)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.errors import PluginContractError
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.wrappers import unwrapped

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def inputs_of(batch: Any, model: nn.Module) -> ExampleInputs:
    """What of a batch goes into the model: all but the last element of a sequence.

    A batch of one tensor, or of one element, is all inputs; a mapping goes in as keywords. Where
    all inputs are one sequence or one mapping, they go in one by one if the model's forward asks
    for several arguments, or for just these keywords.
    """
    if not isinstance(batch, (list, tuple)):
        return ExampleInputs.of(batch)
    inputs = tuple(batch[:-1]) if len(batch) > 1 else tuple(batch)
    if len(inputs) == 1 and _goes_in_parts(inputs[0], model):
        return ExampleInputs.of(inputs[0])
    return ExampleInputs(inputs, {})


def _goes_in_parts(together: Any, model: nn.Module) -> bool:
    """Whether the forward takes what lies together as so many arguments."""
    if not isinstance(together, (list, tuple, Mapping)):
        return False
    try:
        parameters = inspect.signature(unwrapped(model).forward).parameters.values()
    except (TypeError, ValueError):  # a forward that isn't written in Python
        return False
    if isinstance(together, Mapping):
        names = {each.name for each in parameters if each.kind in _BY_NAME}
        return bool(together) and together.keys() <= names
    positional = [each for each in parameters if each.kind in _BY_POSITION]
    needed = sum(each.default is each.empty for each in positional)
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return len(together) >= needed
    return needed > 1 and needed <= len(together) <= len(positional)


def targets_of(batch: Any) -> Any:
    """The last element of a sequence.

    Raises:
        PluginContractError: the batch has no targets.
    """
    if isinstance(batch, (list, tuple)) and len(batch) > 1:
        return batch[-1]
    raise PluginContractError(
        f"a batch for the default training must be (inputs, targets), not {type(batch).__name__}; "
        "other batches need a train_epoch and a validate of the plugin's own"
    )


def to_device(batch: Any, device: torch.device) -> Any:
    """The same nesting with every tensor, and all else that has a ``to``, on the device."""

    def move(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(device, non_blocking=True)
        return leaf.to(device) if callable(getattr(leaf, "to", None)) else leaf

    return pytree.tree_map(move, batch)


def first_sample(batch: Any, model: nn.Module) -> ExampleInputs:
    """The batch's inputs, cut to a batch of 1."""
    return inputs_of(batch, model).mapped(lambda tensor: tensor[:1] if tensor.dim() else tensor)
