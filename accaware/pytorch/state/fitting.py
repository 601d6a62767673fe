"""Whether a saved model fits a dense one, found out before anything of that is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from accaware.errors import CheckpointError
from accaware.pytorch.channels.compact import first_names, sized_modules, tensors_of
from accaware.pytorch.channels.layout import KeptMasks
from accaware.pytorch.channels.numbers import module_numbers
from accaware.pytorch.model.tensors import same_bits
from accaware.pytorch.quantization.attach import weight_name
from accaware.pytorch.quantization.record import quantized_weight, record_misfits
from accaware.pytorch.state.saved_model import SavedModel


@dataclass(frozen=True)
class Fitted:
    """What goes into a model.

    Attributes:
        state: the state dict, all weights as floating-point numbers.
        masks: by the first name that a tensor has in the model, and by those of modules' numbers.
        buffers: what else there is for the model's buffers, by their first names.
    """

    state: Mapping[str, Any]
    masks: KeptMasks
    buffers: Mapping[str, Tensor]


def fitted(saved: SavedModel, model: nn.Module, path: str) -> Fitted:
    """The tensors of a saved model, checked against the one that is to have them.

    Args:
        model: dense.
        path: of the saved one.

    Raises:
        CheckpointError: they don't fit; names the tensors, and both shapes.
    """

    def check(faults: Iterator[str]) -> None:
        found = list(faults)
        if found:
            listed = "\n".join(f"  {fault}" for fault in found[:10])
            more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
            raise CheckpointError(
                f"{path} doesn't fit this {type(model).__name__}:\n{listed}{more}"
            )

    live, firsts = tensors_of(model), first_names(model)
    check(
        f"{name}: has no shape in this model yet; call it on a batch before"
        for name in live
        if is_lazy(live[name])
    )
    own = model.state_dict()
    counts = {sized.count: sized.channels for sized in sized_modules(model) if sized.count}
    numbers = module_numbers(model, saved.kept.keys() - firsts.keys() - counts.keys())
    counts |= {number.name: number.dense for number in numbers}
    check(_other_names(saved, own, {**firsts, **dict.fromkeys(counts)}))
    check(_other_counts(saved, counts))
    masks = _masks(saved.kept, firsts)
    check(_other_shapes(saved, own, live, masks, firsts))
    check(_other_masks(saved, masks, firsts))
    if saved.quantizers is not None:
        check(record_misfits(saved.quantizers, model, saved.state))
    state = {**saved.state, **_quantized(saved, firsts)}
    check(_other_types(state, own))
    check(_torn_apart(state, firsts))
    buffers = {
        name: tensor
        for name, tensor in saved.buffers.items()
        # A cache may have grown since; what isn't in a state dict, the model makes by itself.
        if name in live and list(tensor.shape) == _kept_shape(live[name], masks.get(name, {}))
    }
    return Fitted(state, masks, buffers)


def _masks(kept: KeptMasks, firsts: Mapping[str, str]) -> KeptMasks:
    masks: KeptMasks = {}
    for name, dims in kept.items():
        masks.setdefault(firsts.get(name, name), {}).update(dims)
    return masks


def _other_names(
    saved: SavedModel, own: Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[str]:
    for name, value in saved.state.items():
        if name not in own:
            yield f"{name}: not in the model"
        elif isinstance(value, Tensor) is not isinstance(own[name], Tensor):
            yield f"{name}: a tensor in the one, and something else in the other"
    yield from (f"{name}: not in the file" for name in own if name not in saved.state)
    yield from (f"{name}: not in the model" for name in saved.kept if name not in known)


def _other_counts(saved: SavedModel, counts: Mapping[str, int]) -> Iterator[str]:
    for name, channels in counts.items():
        for dim, mask in saved.kept.get(name, {}).items():
            if dim != 0:
                yield f"{name}: no dimension {dim}, of which the file keeps a part"
            elif len(mask) != channels:
                yield (
                    f"{name}: {len(mask)} channels in the file's dense model, {channels} in "
                    "this one"
                )


def _other_shapes(
    saved: SavedModel,
    own: Mapping[str, Any],
    live: Mapping[str, Tensor],
    masks: KeptMasks,
    firsts: Mapping[str, str],
) -> Iterator[str]:
    """By the lengths of the masks alone: a damaged one may be longer than any memory."""
    for name, tensor in {**live, **own}.items():
        if not isinstance(tensor, Tensor):
            continue
        shape = list(tensor.shape)
        dense = list(saved.state[name].shape) if name in saved.state else list(shape)
        for dim, mask in masks.get(firsts.get(name, name), {}).items():
            if dim < len(dense):
                dense[dim] = len(mask)
            else:
                yield f"{name}: no dimension {dim}, of which the file keeps a part"
        if dense != shape:
            yield f"{name}: {dense} in the file's dense model, {shape} in this one"


def _other_masks(saved: SavedModel, masks: KeptMasks, firsts: Mapping[str, str]) -> Iterator[str]:
    for name, dims in saved.kept.items():
        for dim, mask in dims.items():
            if not torch.equal(mask, masks[firsts.get(name, name)][dim]):
                yield f"{name}: the same tensor as {firsts[name]}, but with other channels removed"
    for name, tensor in saved.state.items():
        for dim, mask in masks.get(firsts.get(name, name), {}).items():
            if tensor.shape[dim] != int(mask.count_nonzero()):
                yield f"{name}: {list(tensor.shape)}, which isn't what the file keeps of it"


def _quantized(saved: SavedModel, firsts: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights that integers stand for, under all of their names."""
    by_first: dict[str, Tensor] = {}
    for place, entry in (saved.quantizers or {"weights": {}})["weights"].items():
        name = weight_name(place, firsts)
        if not saved.state[name].is_floating_point():
            by_first[firsts[name]] = quantized_weight(saved.state[name], entry)
    return {
        name: by_first[first]
        for name, first in firsts.items()
        if first in by_first and name in saved.state
    }


def _other_types(state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    for name, tensor in own.items():
        if isinstance(tensor, Tensor) and _kind(tensor) != _kind(state[name]):
            yield f"{name}: {state[name].dtype} in the file, {tensor.dtype} in this model"


def _kind(tensor: Tensor) -> tuple[bool, ...]:
    """Values of one kind copy to each other, if less exactly."""
    return (
        tensor.is_floating_point(),
        tensor.is_complex(),
        tensor.dtype == torch.bool,
        tensor.layout == torch.strided,
    )


def _torn_apart(state: Mapping[str, Any], firsts: Mapping[str, str]) -> Iterator[str]:
    for name, first in firsts.items():
        shared = name != first and name in state and first in state
        if shared and not same_bits(state[name], state[first]):
            yield f"{name}: the same tensor as {first} in this model, and not in the file"


def _kept_shape(tensor: Tensor, masks: Mapping[int, Tensor]) -> list[int]:
    shape = list(tensor.shape)
    for dim, mask in masks.items():
        shape[dim] = int(mask.count_nonzero())
    return shape
