"""Groups are believed after they were tried: removing channels must equal leaving them unread.

On real tensors in double precision, the model without about half of each group's channels must
compute what the model computes when nobody reads them (CompactModel.masked): on noise, on the
user's own inputs, and in both modes where these differ. Parameters that are all alike (a fresh
model's biases, scales that start at zero) are varied first, lest they hide a difference. That
proves something where numbers were compared that depend on the channels, so each group is asked
for that as well.

All groups are tried at once, and where that fails the set is divided until the culprits stand
alone: on the meta device first, where tensors have shapes and no values, as that costs little and
tells most of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from accaware.pytorch.channels.layout import ChannelGroup, ExcludedLayer
from accaware.pytorch.channels.trials.bench import (
    OUTPUT,
    Bench,
    Fault,
)
from accaware.pytorch.channels.trials.removal import removal
from accaware.pytorch.channels.trials.shape_bench import ShapeBench
from accaware.pytorch.channels.trials.trial import RemovalTrial
from accaware.pytorch.model.device import (
    SMALLER_INPUTS,
    reporting_memory_shortage,
)
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.layers import Mode

_ALL_NEEDED = "each of its channels is the only one that some layer has"
_Try = Callable[[Sequence[int]], Fault | None]
_TryWithin = Callable[[int, str], Fault | None]


def verify_groups(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    reached: Mapping[Mode, Iterable[str]],
    inputs: ExampleInputs,
    *more: ExampleInputs,
    by_size: bool = False,
) -> tuple[tuple[ChannelGroup, ...], tuple[ExcludedLayer, ...]]:
    """The groups that can be removed from rightly, and the others with their reason.

    Args:
        model: dense; it is copied, not touched.
        groups: candidates.
        reached: the modes to try -> the names of the parameters that the model uses there.
        inputs: tried as they are, and with noise in the place of floating-point values, so that
            zeros or constants can't hide a difference.
        more: other inputs to try, where the model takes them.
        by_size: try it at another size of the inputs, too, where the model takes one.

    Raises:
        CompressionError: the model itself doesn't run on ``inputs``.
        MemoryShortageError: it ran out of memory.
    """
    candidates = [group for group in groups if len(removal(group))]
    excluded = [
        ExcludedLayer(layer, "it has a single filter" if group.size <= 1 else _ALL_NEEDED)
        for group in groups
        if not len(removal(group))
        for layer in group.producers
    ]
    if not candidates:
        return (), tuple(excluded)
    with reporting_memory_shortage(
        f"trying the channel groups of {type(model).__name__}", SMALLER_INPUTS
    ):
        trials = _trials(tuple(reached), inputs, more, by_size=by_size)
        passed, faults = _tried(model, candidates, reached, trials)
    excluded += [
        ExcludedLayer(layer, reason)
        for index, reason in faults.items()
        for layer in candidates[index].producers
    ]
    return tuple(candidates[index] for index in passed), tuple(excluded)


def _tried(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    reached: Mapping[Mode, Iterable[str]],
    trials: Sequence[RemovalTrial],
) -> tuple[list[int], dict[int, str]]:
    bench = Bench(model, groups, reached, trials)
    passed = list(range(len(groups)))
    faults: dict[int, str] = {}
    by_values = bench.fault
    if by_values(passed) is not None:
        shapes = ShapeBench(model, groups, bench.trials)
        passed, faults = _sift(passed, shapes.fault, groups, shapes.fault_within)
        passed, more_faults = _sift(passed, by_values, groups)
        faults |= more_faults
    unproven = _unproven(bench, passed)
    if unproven:
        bench.negate(unproven)
        if by_values(passed) is not None:
            passed, more_faults = _sift(passed, by_values, groups)
            faults |= more_faults
        unproven = _unproven(bench, passed)
    for index in bench.hidden([index for index in passed if index not in unproven]):
        alone = bench.fault([index])
        if alone is not None:
            unproven[index] = alone.reason
    return [index for index in passed if index not in unproven], faults | unproven


def _unproven(bench: Bench, members: Sequence[int]) -> dict[int, str]:
    """Of groups that passed, those about which that says nothing, and why."""
    reasons = {index: bench.unproven(index) for index in members}
    return {index: reason for index, reason in reasons.items() if reason is not None}


def _trials(
    modes: Sequence[Mode],
    inputs: ExampleInputs,
    more: Sequence[ExampleInputs],
    *,
    by_size: bool,
) -> list[RemovalTrial]:
    noisy = _noisy(inputs)
    larger = inputs.at_twice_the_size() if by_size else []
    variants = [
        *([] if noisy is None else [(noisy, False)]),
        *((_noisy(each) or each, True) for each in larger),
        *((each, False) for each in (inputs, *more)),
    ]
    return [
        RemovalTrial(mode, each, seed, at_other_size)
        for mode in modes
        for seed, (each, at_other_size) in enumerate(variants)
    ]


def _noisy(inputs: ExampleInputs) -> ExampleInputs | None:
    """Noise in the place of all floating-point values; None where there are none."""
    if not any(tensor.is_floating_point() for tensor in inputs.tensors()):
        return None
    generator = torch.Generator().manual_seed(0)

    def noise(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return values.to(tensor.device)

    return inputs.mapped(noise)


def _sift(
    members: Sequence[int],
    fault_of: _Try,
    groups: Sequence[ChannelGroup],
    fault_within: _TryWithin | None = None,
) -> tuple[list[int], dict[int, str]]:
    """Those that pass, and those that don't with their faults: suspects apart, or by halving.

    Where two of a kind failed alone, as the heads of one block after another do, all others of it
    are tried alone.

    Args:
        fault_within: tries a group in a module alone; where its like failed that tells quickly.
    """
    passed: list[int] = []
    failed: dict[int, str] = {}
    places: dict[str, tuple[str, ...]] = {}
    pending = [list(members)] if members else []
    found: dict[frozenset[int], Fault | None] = {}
    while pending:
        tried = pending.pop()
        failures = Counter(_kind(groups[index]) for index in failed)
        doubtful = [index for index in tried if failures[_kind(groups[index])] > 1]
        if doubtful and len(tried) > 1:
            others = [index for index in tried if index not in doubtful]
            pending += [*([index] for index in doubtful), *([others] if others else [])]
            continue
        if doubtful and fault_within is not None:
            place = _place_like(places[_kind(groups[tried[0]])], groups[tried[0]])
            within = None if place is None else fault_within(tried[0], place)
            if within is not None:
                failed[tried[0]] = within.reason
                continue
        # Together with those already passed: groups that only fail side by side are caught.
        # Where one half has passed, that makes the whole again, which was tried.
        side_by_side = frozenset([*passed, *tried])
        if side_by_side not in found:
            found[side_by_side] = fault_of(sorted(side_by_side))
        fault = found[side_by_side]
        if fault is None:
            passed.extend(tried)
        elif len(tried) == 1:
            failed[tried[0]] = fault.reason
            places[_kind(groups[tried[0]])] = fault.running
        else:
            # The channels of the outputs are most often the last layer's.
            last = fault.reason == OUTPUT and len(tried) == len(members)
            middle = len(tried) - 1 if last else len(tried) // 2
            suspects = _suspects(fault, tried, groups) or tried[middle:]
            pending += [[index for index in tried if index not in suspects], suspects]
    return sorted(passed), failed


def _suspects(fault: Fault, tried: Sequence[int], groups: Sequence[ChannelGroup]) -> list[int]:
    """Of the groups those that the innermost module which failed has to do with, or one like it."""
    for module in fault.running:
        scopes = f"{module}.", _unnumbered(f"{module}.")
        alike, found = (
            [
                index
                for index in tried
                if any(called(slot.tensor).startswith(scope) for slot in groups[index].slots)
            ]
            for scope, called in ((scopes[1], _unnumbered), (scopes[0], str))
        )
        if found:
            apart = alike if len(alike) < len(tried) else found
            return apart if len(apart) < len(tried) else []
    return []


def _place_like(running: Sequence[str], group: ChannelGroup) -> str | None:
    """The module of a group that is like the innermost one in which a group of its kind failed."""
    for module in running:
        for slot in group.slots:
            names = slot.tensor.split(".")
            for count in range(1, len(names)):
                name = ".".join(names[:count])
                if _unnumbered(name) == _unnumbered(module):
                    return name
    return None


def _kind(group: ChannelGroup) -> str:
    """The same for what stands at the same place in several blocks."""
    return _unnumbered(next(iter(group.producers), ""))


def _unnumbered(name: str) -> str:
    return re.sub(r"\d+", "", name)
