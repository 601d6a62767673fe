"""Whether a group's channels reach the outputs: where they don't, no comparison proves anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.compact import tensors_of
from accaware.pytorch.channels.layout import ChannelGroup, Slot
from accaware.pytorch.channels.trials.trial import Observed, RemovalTrial
from accaware.pytorch.model.device import raise_if_out_of_memory


@dataclass(frozen=True)
class Decisions:
    """Which decisions of a run were compared.

    Attributes:
        count: how many there are; a run with another number of them has none.
        places: of those that were compared.
    """

    count: int = 0
    places: Sequence[int] = ()

    def of(self, seen: Observed) -> list[Tensor]:
        """Another run's decisions at the same places; none if it made a different number."""
        if len(seen.decisions) != self.count:
            return []
        return [seen.decisions[place] for place in self.places]


def reach_by_gradient(
    model: nn.Module,
    groups: Mapping[int, ChannelGroup],
    trial: RemovalTrial,
    decisions: Decisions,
) -> dict[int, Tensor]:
    """How much of the outputs depends on each channel, in one run for all.

    It is the share of a random projection of the outputs that goes with a channel's bias or
    scale, or its filter where it has neither, to first order. Nothing is told of a group whose
    gradient is zero: steps have none, nor have parts of a forward that run without one.

    Args:
        model: no parameter asks for a gradient.
        groups: those that are asked about, by their number.
        decisions: those that count as outputs.

    Returns:
        (C,), for the groups of which something is found to reach the outputs.
    """
    tensors = tensors_of(model)
    places: dict[str, list[tuple[int, Slot]]] = {}
    for number, group in groups.items():
        made = [
            slot
            for slot in group.slots
            if slot.produces and isinstance(tensors.get(slot.tensor), nn.Parameter)
        ]
        vectors = [slot for slot in made if tensors[slot.tensor].dim() == 1]
        for slot in vectors or made:
            places.setdefault(slot.tensor, []).append((number, slot))
    probes = {name: tensors[name] for name in places if tensors[name].is_floating_point()}
    try:
        gradients = _gradients(model, probes, trial, decisions)
    except Exception as error:  # noqa: BLE001 - a forward that has none; it is asked otherwise
        raise_if_out_of_memory(error)
        return {}
    found: dict[int, Tensor] = {}
    for name, gradient in gradients.items():
        value = probes[name].detach()
        for number, slot in places[name]:
            if value.dim() == 1:  # a bias may be small where what it is added to isn't
                along = gradient * torch.maximum(value.abs(), _sizes(name, tensors, groups[number]))
            else:
                # Of a weight that is normalised the sum is zero, as its size makes no difference.
                along = (gradient * value).abs().movedim(slot.dim, 0).flatten(1).sum(1)
            effects = along.abs().nan_to_num(0, 0, 0).cpu().double()
            size = groups[number].size
            largest = effects.new_zeros(size).scatter_reduce(
                0, slot.channels, effects[slot.positions], "amax"
            )
            found[number] = torch.maximum(largest, found.get(number, largest))
    return {number: effects for number, effects in found.items() if effects.any()}


def _sizes(name: str, tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """How large the channels of a layer are, by its filters' norms; zero without filters."""
    for slot in group.producing_weights():
        weight = tensors[slot.tensor]
        if name == f"{slot.layer}.bias" and len(slot.positions) == weight.shape[slot.dim]:
            filters: Tensor = weight.detach().movedim(slot.dim, 0).flatten(1)
            norms: Tensor = filters.norm(dim=1)
            return norms
    return torch.zeros((), dtype=tensors[name].dtype, device=tensors[name].device)


def _gradients(
    model: nn.Module, probes: Mapping[str, Tensor], trial: RemovalTrial, decisions: Decisions
) -> dict[str, Tensor]:
    for probe in probes.values():
        probe.requires_grad_(True)
    try:
        with torch.enable_grad():
            seen = trial.run(model)
            projected = _projected([*seen.outputs, *decisions.of(seen)])
        found = torch.autograd.grad(projected, list(probes.values()), allow_unused=True)
    finally:
        for probe in probes.values():
            probe.requires_grad_(False)
    pairs = zip(probes, found, strict=True)
    return {name: gradient for name, gradient in pairs if gradient is not None}


def _projected(outputs: Sequence[Tensor]) -> Tensor:
    """One number that depends on all finite elements, on each tensor's as much."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for output in outputs:
        if not output.requires_grad or not output.is_floating_point():
            continue
        finite = output[output.isfinite()]
        if not finite.numel():
            continue
        scale = finite.detach().abs().max().clamp_min(torch.finfo(output.dtype).tiny)
        weights = torch.randn(finite.shape, generator=generator) / finite.numel() ** 0.5
        total = total + ((finite / scale) * weights.to(finite)).sum().to(total)
    return total
