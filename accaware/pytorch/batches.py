"""Batches as data loaders give them: a tensor, (inputs, targets), or a mapping."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from accaware.errors import PluginContractError
from accaware.pytorch.inputs import ExampleInputs


def inputs_of(batch: Any) -> ExampleInputs:
    """What of a batch goes into the model: all but the last element of a sequence.

    A batch of one tensor, or of one element, is all inputs; a mapping goes in as keywords.
    """
    if isinstance(batch, (list, tuple)):
        return ExampleInputs.of(tuple(batch[:-1]) if len(batch) > 1 else tuple(batch))
    return ExampleInputs.of(batch)


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


def batch_size_of(batch: Any) -> int:
    """The first dimension of the batch's first tensor; 1 where there is none."""
    first = next((leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor)), None)
    return len(first) if first is not None and first.dim() else 1


def first_sample(batch: Any) -> ExampleInputs:
    """The batch's inputs, cut to a batch of 1."""
    return inputs_of(batch).mapped(lambda tensor: tensor[:1] if tensor.dim() else tensor)
