"""Coupled-channel groups of a model, from Torch-Pruning's dependency graph.

The graph is asked once; what it says of each group is turned into slots, or into a reason to
leave the group out. Nothing here is believed before accaware.pytorch.verification tried it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch_pruning as tp
from torch import Tensor, nn

from accaware.errors import CompressionError
from accaware.pytorch.channels import ChannelGroup, LeftOut, Slot
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.layers import CONVOLUTIONS, PER_CHANNEL_NORMS, TRANSPOSED, is_depthwise
from accaware.pytorch.modes import set_structural_mode

_Place = tuple[Tensor, int, bool]
"""A tensor, the dimension its channels lie along, and whether it produces them."""


_PRODUCERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
_SLICED = (*_PRODUCERS, *PER_CHANNEL_NORMS, nn.PReLU, nn.Embedding)
_NO_OWNER = torch.empty(0, dtype=torch.long)


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
            f"{type(model).__name__} can't be pruned: Torch-Pruning's dependency graph, which "
            "follows its channels from layer to layer, fails on it "
            f"({type(error).__name__}: {_first_line(error)})"
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
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    groups: list[ChannelGroup] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for module in list(graph.module2node):
        name = names.get(id(module))
        if name is None or name in seen or not isinstance(module, _PRODUCERS):
            continue
        ends, reason = _walk(graph, module, names)
        producers = tuple(
            dict.fromkeys(
                names[id(end.module)]
                for end in ends
                if isinstance(end.module, _PRODUCERS) and (end.makes or is_depthwise(end.module))
            )
        )
        seen.update(producers)
        try:
            if reason:
                raise _NotSliceableError(reason)
            slots = tuple(_slots(ends, graph, tensor_names))
        except _NotSliceableError as error:
            left_out.extend(LeftOut(layer, str(error)) for layer in producers)
            continue
        producers = tuple(sorted(producers, key=order.__getitem__))
        groups.append(ChannelGroup(producers[0], len(ends[0].positions), slots, producers))
    groups, shared = _disjoint(groups)
    unseen = [
        LeftOut(name, "the dependency graph doesn't reach it from the outputs")
        for name, module in model.named_modules()
        if isinstance(module, _PRODUCERS) and name not in seen
    ]
    groups.sort(key=lambda group: order[group.name])
    reasons = {entry.layer: entry for entry in [*shared, *unseen, *left_out]}
    kept = {layer for group in groups for layer in group.producers}
    left_out = sorted(
        (entry for entry in reasons.values() if entry.layer not in kept),
        key=lambda entry: order[entry.layer],
    )
    return Dependencies(tuple(groups), tuple(left_out), _first_convolutions(graph, names))


class _Index(NamedTuple):
    """What Torch-Pruning's index mappings take and give."""

    idx: int
    root_idx: int | None


@dataclass(frozen=True)
class _End:
    """Where a group reaches a layer: one end of it, and which positions are which channels."""

    module: Any
    makes: bool
    positions: Tensor
    channels: Tensor


def _walk(graph: Any, root: nn.Module, names: dict[int, str]) -> tuple[list[_End], str | None]:
    """Everything that goes when channels of ``root`` go, and why they can't where that is so.

    The library's own walk goes on as long as it meets new lists of indices, which around a
    reshape (Swin's windows) grow for ever. Here each end of a layer takes each of its positions
    once, and the walk ends at the first thing that keeps the group from being pruned; what it
    didn't reach by then comes to the same end from its own side.
    """
    handler = graph.get_pruner_of_module(root).prune_out_channels
    node = graph.module2node[root]
    everything = torch.arange(graph.get_out_channels(node))
    widest = max((max(p.shape, default=0) for p in graph.model.parameters()), default=0)
    owners: dict[tuple[Any, Any], Tensor] = {}
    pending = [(node, handler, everything, everything)]
    obstacle = None
    while pending and obstacle is None:
        node, handler, positions, channels = pending.pop()
        if not positions.numel():
            continue
        known = owners.get((node, handler), _NO_OWNER)
        width = max(len(known), int(positions.max()) + 1)
        before = torch.cat([known, torch.full((width - len(known),), -1)])
        after = before.clone()
        free = before[positions] < 0
        after[positions[free]] = channels[free]
        owners[node, handler] = after
        obstacle = _obstacle(node.module, names.get(id(node.module), ""))
        if width > widest:
            obstacle = "it is reshaped in a way that can't be followed"
        if not torch.equal(after[positions], channels):
            obstacle = "its channels are tied to one another"
        fresh = (after != before).nonzero().flatten()
        for dependency in node.dependencies if len(fresh) else ():
            if dependency.is_triggered_by(handler):
                mapped = _mapped(dependency.index_mapping, fresh, after[fresh])
                if mapped is None:
                    obstacle = obstacle or "its channels are repeated"
                else:
                    pending.append((dependency.target, dependency.handler, *mapped))
    ends = []
    for (node, handler), owner in owners.items():
        positions = (owner >= 0).nonzero().flatten()
        makes = "out_channels" in handler.__name__
        ends.append(_End(node.module, makes, positions, owner[positions]))
    return ends, obstacle


def _mapped(
    mappings: Iterable[Any], positions: Tensor, channels: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Positions and channels on the other side of an edge of the graph; None if unknown."""
    active = [mapping for mapping in mappings if mapping is not None]
    if not active:
        return positions, channels
    indices: Any = list(map(_Index, positions.tolist(), channels.tolist()))
    for mapping in active:
        indices = mapping(indices)
    if any(index.root_idx is None for index in indices):
        return None
    pairs = torch.tensor([tuple(index) for index in indices], dtype=torch.long).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _slots(ends: Iterable[_End], graph: Any, tensor_names: dict[int, str]) -> Iterator[Slot]:
    """The group's slots, each (tensor, dim) once.

    Raises:
        _NotSliceableError: positions that a tensor doesn't have.
    """
    seen: set[tuple[str, int]] = set()
    dims_of_parameters = {
        id(entry.parameters): entry.pruning_dim for entry in graph.unwrapped_parameters
    }
    for end in ends:
        places: list[_Place]
        if isinstance(end.module, nn.Parameter):
            places = [(end.module, dims_of_parameters[id(end.module)], True)]
        else:
            places = _places(end.module, end.makes)
        for tensor, dim, produces in places:
            key = (tensor_names[id(tensor)], dim)
            if key in seen:
                continue
            seen.add(key)
            if int(end.positions[-1]) >= tensor.shape[dim]:
                raise _NotSliceableError(f"its channels don't line up with {key[0]}")
            yield Slot(key[0], dim, end.positions, end.channels, produces)


def _obstacle(module: Any, name: str) -> str | None:
    """Why a group that reaches ``module`` can't be pruned, if that is so."""
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        if module.groups > 1 and not is_depthwise(module):
            return f"{name} is a grouped convolution ({module.groups} groups)"
    elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        return f"{name} ({type(module).__name__}) normalises each channel by its neighbours"
    elif isinstance(module, nn.modules.instancenorm._InstanceNorm) and not list(_places(module)):
        return f"{name} ({type(module).__name__}) has no tensor that could be made smaller"
    elif isinstance(module, _SLICED) or not isinstance(module, nn.Module):
        return None
    elif any(True for _ in module.parameters()):
        return f"{name} is a {type(module).__name__}, whose channels aren't free"
    return None


def _places(module: Any, makes: bool = True) -> list[_Place]:
    """Where one end of a layer has its channels; nowhere for an operation without tensors."""
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        if is_depthwise(module):
            return _vectors(module.weight, module.bias)
        filters_dim = 1 if isinstance(module, TRANSPOSED) else 0
        if not makes:
            return [(module.weight, 1 - filters_dim, False)]
        return [(module.weight, filters_dim, True), *_vectors(module.bias)]
    if isinstance(module, nn.Linear):
        return _vectors(module.weight, module.bias) if makes else [(module.weight, 1, False)]
    if isinstance(module, PER_CHANNEL_NORMS):
        return _vectors(module.weight, module.bias, module.running_mean, module.running_var)
    if isinstance(module, nn.PReLU):
        return [(module.weight, 0, False)] if module.num_parameters > 1 else []
    if isinstance(module, nn.Embedding):
        return [(module.weight, 1, True)]
    return []


def _vectors(*tensors: Tensor | None) -> list[_Place]:
    return [(tensor, 0, True) for tensor in tensors if tensor is not None]


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
        apart.append(group)
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
