"""Coupled-channel groups of a model, from Torch-Pruning's dependency graph.

The graph is asked once; what it says of each group is turned into slots, or into a reason to
leave the group out. Nothing here is believed before accaware.pytorch.verification tried it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from accaware.errors import CompressionError
from accaware.pytorch.channels import ChannelGroup, LeftOut, Slot
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.layers import CONVOLUTIONS, PER_CHANNEL_NORMS, TRANSPOSED, is_depthwise
from accaware.pytorch.modes import set_structural_mode

_Place = tuple[torch.Tensor, int, bool]
"""A tensor, the dimension its channels lie along, and whether it produces them."""


class _NotSliceableError(Exception):
    """A group touches something whose channels can't be removed; the text is the reason."""


@dataclass(frozen=True)
class Dependencies:
    """The groups of a model, and the layers that belong to none, each with its reason."""

    groups: tuple[ChannelGroup, ...]
    left_out: tuple[LeftOut, ...]
    first_convolutions: frozenset[str]


def find_dependencies(model: nn.Module, inputs: ExampleInputs) -> Dependencies:
    """Ask the dependency graph for every group of coupled channels.

    Args:
        model: dense; it is copied, not touched.
        inputs: something the model accepts; a batch of 1 will do.

    Raises:
        CompressionError: the graph can't be built for this model, or the model can't run.
    """
    traced = copy.deepcopy(model)
    for parameter in traced.parameters():
        # The graph is read off autograd; what is frozen would be missing from it.
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph = tp.DependencyGraph().build_dependency(
                traced, inputs, forward_fn=_forward_with_auxiliary_heads, verbose=False
            )
    except Exception as error:  # the library raises whatever it stumbles over
        raise CompressionError(
            f"the channels of {type(model).__name__} can't be followed: Torch-Pruning's "
            f"dependency graph fails on it ({type(error).__name__}: {_first_line(error)})"
        ) from error
    return _read(graph, traced)


def _forward_with_auxiliary_heads(model: nn.Module, inputs: ExampleInputs) -> Any:
    set_structural_mode(model)
    return inputs.call(model)


def _read(graph: Any, model: nn.Module) -> Dependencies:
    names = {id(module): name for name, module in model.named_modules()}
    tensor_names = {
        id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    groups: list[ChannelGroup] = []
    left_out: list[LeftOut] = []
    for group in graph.get_all_groups():
        name = names[id(group[0].dep.target.module)]
        size = len(group[0].idxs)
        producers = _producers(group, names)
        try:
            slots = tuple(_slots(group, graph, size, tensor_names, names))
        except _NotSliceableError as reason:
            left_out.extend(LeftOut(layer, str(reason)) for layer in producers)
            continue
        groups.append(ChannelGroup(name, size, slots, producers))
    groups, shared = _disjoint(groups)
    seen = {layer for group in groups for layer in group.producers}
    seen |= {entry.layer for entry in [*left_out, *shared]}
    unseen = [
        LeftOut(name, "the dependency graph doesn't reach it from the outputs")
        for name, module in model.named_modules()
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) and name not in seen
    ]
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    groups.sort(key=lambda group: order[group.name])
    left_out = sorted([*left_out, *shared, *unseen], key=lambda entry: order[entry.layer])
    return Dependencies(tuple(groups), tuple(left_out), _first_convolutions(graph, names))


def _producers(group: Any, names: dict[int, str]) -> tuple[str, ...]:
    producers: dict[str, None] = {}  # an ordered set
    for item in group.items:
        module = item.dep.target.module
        makes = "out_channels" in item.dep.handler.__name__
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) and (
            makes or is_depthwise(module)
        ):
            producers[names[id(module)]] = None
    return tuple(producers)


def _slots(
    group: Any, graph: Any, size: int, tensor_names: dict[int, str], names: dict[int, str]
) -> Iterator[Slot]:
    """The group's slots, each (tensor, dim) once."""
    seen: set[tuple[str, int]] = set()
    dims_of_parameters = {
        id(entry.parameters): entry.pruning_dim for entry in graph.unwrapped_parameters
    }
    for item in group.items:
        module = item.dep.target.module
        places: list[_Place]
        if isinstance(module, nn.Parameter):
            if id(module) not in dims_of_parameters:
                raise _NotSliceableError(
                    f"the parameter {tensor_names[id(module)]} has no channels"
                )
            places = [(module, dims_of_parameters[id(module)], True)]
        elif id(module) in names:
            makes = "out_channels" in item.dep.handler.__name__
            places = list(_places(module, names[id(module)], makes))
        else:
            continue  # an operation without tensors of its own
        positions = torch.tensor(list(item.idxs), dtype=torch.long)
        channels = torch.tensor(list(item.root_idxs), dtype=torch.long)
        for tensor, dim, produces in places:
            key = (tensor_names[id(tensor)], dim)
            if key in seen:
                continue
            seen.add(key)
            covered = torch.bincount(channels, minlength=size) if len(channels) else torch.zeros(1)
            if (
                positions.numel() == 0
                or int(positions.max()) >= tensor.shape[dim]
                or (len(set(item.idxs)) != len(item.idxs) or len(covered) > size)
            ):
                raise _NotSliceableError(f"its channels don't line up with {key[0]}")
            yield Slot(key[0], dim, positions, channels, produces)


def _places(module: nn.Module, name: str, makes: bool) -> Iterator[_Place]:
    """Where one end of a layer has its channels."""
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        if is_depthwise(module):
            yield from _vectors(module.weight, module.bias)
            return
        if module.groups > 1:
            raise _NotSliceableError(f"{name} is a grouped convolution ({module.groups} groups)")
        filters_dim = 1 if isinstance(module, TRANSPOSED) else 0
        if not makes:
            yield module.weight, 1 - filters_dim, False
            return
        yield module.weight, filters_dim, True
        yield from _vectors(module.bias)
    elif isinstance(module, nn.Linear):
        if not makes:
            yield module.weight, 1, False
            return
        yield from _vectors(module.weight, module.bias)
    elif isinstance(module, PER_CHANNEL_NORMS):
        yield from _vectors(module.weight, module.bias, module.running_mean, module.running_var)
    elif isinstance(module, nn.PReLU):
        if module.num_parameters > 1:
            yield module.weight, 0, False
    elif isinstance(module, nn.Embedding):
        yield module.weight, 1, True
    elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        kind = type(module).__name__
        raise _NotSliceableError(f"{name} ({kind}) normalises each channel by its neighbours")
    elif any(True for _ in module.parameters()):
        raise _NotSliceableError(f"{name} is a {type(module).__name__}, whose channels aren't free")


def _vectors(*tensors: torch.Tensor | None) -> Iterator[_Place]:
    return ((tensor, 0, True) for tensor in tensors if tensor is not None)


def _disjoint(groups: list[ChannelGroup]) -> tuple[list[ChannelGroup], list[LeftOut]]:
    """Leave out groups that claim a position which another group already has."""
    owned: dict[tuple[str, int], set[int]] = {}
    apart: list[ChannelGroup] = []
    left_out: list[LeftOut] = []
    for group in groups:
        claims = {(slot.tensor, slot.dim): set(slot.positions.tolist()) for slot in group.slots}
        if any(owned.get(key, set()) & positions for key, positions in claims.items()):
            reason = "its channels overlap with another group's"
            left_out.extend(LeftOut(layer, reason) for layer in group.producers)
            continue
        for key, positions in claims.items():
            owned.setdefault(key, set()).update(positions)
        apart.append(replace(group))
    return apart, left_out


def _first_convolutions(graph: Any, names: dict[int, str]) -> frozenset[str]:
    """Convolutions with no convolution between them and the model's inputs."""
    convolutions = (*CONVOLUTIONS, *TRANSPOSED)
    first = set()
    for module, node in graph.module2node.items():
        if isinstance(module, convolutions) and not _follows(node, convolutions):
            first.add(names[id(module)])
    return frozenset(first)


def _follows(node: Any, kinds: tuple[type, ...]) -> bool:
    pending, seen = list(node.inputs), set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current.module, kinds):
            return True
        pending.extend(current.inputs)
    return False


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")
