"""Groups are believed after they were tried: removing channels must equal leaving them unread.

On real tensors in double precision, the model without about half of each group's channels must
compute what the model computes when nobody reads them (see CompactModel.masked). Parameters that
are all alike (a fresh model's biases, scales that start at zero) are varied first, lest they hide
a difference. All groups are
tried at once, and where that fails the set is halved until the culprits stand alone: on the meta
device first, where tensors have shapes and no values, as that costs little and tells most of them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.errors import CompressionError
from accaware.pytorch.channels import ChannelGroup, Layout, LeftOut
from accaware.pytorch.compact import CompactModel
from accaware.pytorch.copies import copy_in, copy_without_values
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.modes import set_structural_mode
from accaware.pytorch.wrappers import eagerly

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Largest relative difference of outputs; wrong groups miss it by far.

Single precision is for models that don't run in double.
"""

_OUTPUT = "its channels are the model's output"
_MIXED = (
    "removing its channels changes what the others do: they are mixed with them in a way that "
    "wasn't followed"
)
_ALL_NEEDED = "each of its channels is the only one that some layer has"
_RANDOM = "the model's outputs differ from run to run, so that nothing can be compared"


def verify_groups(
    model: nn.Module, groups: Sequence[ChannelGroup], inputs: ExampleInputs
) -> tuple[tuple[ChannelGroup, ...], tuple[LeftOut, ...]]:
    """The groups that can be removed from rightly, and the others with their reason.

    Args:
        model: dense; it is copied, not touched.
        groups: candidates.
        inputs: give the shapes and types; floating-point values are replaced by noise, so that
            zeros or constants can't hide a difference.

    Raises:
        CompressionError: the model itself doesn't run on ``inputs``.
    """
    candidates = [group for group in groups if len(_removal(group))]
    left_out = [
        LeftOut(layer, "it has a single filter" if group.size <= 1 else _ALL_NEEDED)
        for group in groups
        if not len(_removal(group))
        for layer in group.producers
    ]
    if not candidates:
        return (), tuple(left_out)
    passed = list(range(len(candidates)))
    by_values = _value_fault_finder(model, candidates, inputs)
    if by_values(passed) is not None:
        for fault in (_shape_fault_finder(model, candidates, inputs), by_values):
            passed, faults = _sift(passed, fault)
            left_out += [
                LeftOut(layer, reason)
                for index, reason in faults.items()
                for layer in candidates[index].producers
            ]
    return tuple(candidates[index] for index in passed), tuple(left_out)


class _Run(Protocol):
    def __call__(self, seed: int = 0) -> list[Tensor]: ...


_FaultFinder = Callable[[Sequence[int]], str | None]


def _sift(groups: Sequence[int], fault: _FaultFinder) -> tuple[list[int], dict[int, str]]:
    """Those that pass, and those that don't with their faults, by halving."""
    passed: list[int] = []
    failed: dict[int, str] = {}
    pending = [list(groups)] if groups else []
    found: dict[frozenset[int], str | None] = {}
    while pending:
        members = pending.pop()
        # Together with those already passed: groups that only fail side by side are caught.
        # Where one half has passed, that makes the whole again, which was tried.
        side_by_side = frozenset([*passed, *members])
        if side_by_side not in found:
            found[side_by_side] = fault(sorted(side_by_side))
        reason = found[side_by_side]
        if reason is None:
            passed.extend(members)
        elif len(members) == 1:
            failed[members[0]] = reason
        else:
            # The channels of the outputs are most often the last layer's.
            last = reason == _OUTPUT and len(members) == len(groups)
            middle = len(members) - 1 if last else len(members) // 2
            pending += [members[middle:], members[:middle]]
    return sorted(passed), failed


def _shape_fault_finder(
    model: nn.Module, groups: Sequence[ChannelGroup], inputs: ExampleInputs
) -> _FaultFinder:
    """Tries sets of groups on the meta device; one channel of each is removed."""
    shapes = copy_without_values(model)
    compact = CompactModel(shapes, groups)
    meta_inputs = inputs.on(torch.device("meta"))
    try:
        run, expected = _forward(shapes, meta_inputs)
    except Exception:  # noqa: BLE001 - a forward that reads values; the real trial judges it
        return lambda members: None

    def fault(members: Sequence[int]) -> str | None:
        compact.set_layout(_layout(groups, members, lambda group: _removal(group)[:1]))
        try:
            outputs = run()
        except Exception as error:  # noqa: BLE001 - what the user's forward says is the answer
            return _failure(error)
        if [output.shape for output in outputs] != [output.shape for output in expected]:
            return _OUTPUT
        return None

    return fault


def _value_fault_finder(
    model: nn.Module, groups: Sequence[ChannelGroup], inputs: ExampleInputs
) -> _FaultFinder:
    """Tries sets of groups on numbers; about half of each is removed.

    Raises:
        CompressionError: the model doesn't run at all.
    """
    generator = torch.Generator().manual_seed(0)
    copied, run, steady, tolerance = _runnable(model, inputs, generator)
    if not steady:
        return lambda members: _RANDOM
    compact = CompactModel(copied, groups, own_copy=False)
    dense = Layout.dense(groups)

    def fault(members: Sequence[int]) -> str | None:
        layout = _layout(groups, members, _removal)
        compact.set_layout(dense)  # after an earlier trial; most often there is none
        with compact.masked(layout):
            wanted = run()
        compact.set_layout(layout)
        try:
            got = run()
        except Exception as error:  # noqa: BLE001 - what the user's forward says is the answer
            return _failure(error)
        if [output.shape for output in wanted] != [output.shape for output in got]:
            return _OUTPUT
        agree = all(_equal(*pair, tolerance) for pair in zip(wanted, got, strict=True))
        return None if agree else _MIXED

    return fault


def _runnable(
    model: nn.Module, inputs: ExampleInputs, generator: torch.Generator
) -> tuple[nn.Module, _Run, bool, float]:
    """A varied copy of the model, how to run it on noise, whether it repeats itself, the tolerance.

    Raises:
        CompressionError: it runs in no precision.
    """
    failure: Exception | None = None
    for dtype, tolerance in TOLERANCES.items():

        def noise(tensor: Tensor, dtype: torch.dtype = dtype) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            return values.to(tensor.device, dtype)

        try:
            copied = copy_in(model, dtype)
            _vary(copied, generator)
            run, outputs = _forward(copied, inputs.mapped(noise))
            steady = not _differ(outputs, run(seed=1))
            if not steady:  # dropout in a container's own forward, say
                copied.eval()
                steady = not _differ(run(), run())
            return copied, run, steady, tolerance
        except Exception as error:  # noqa: BLE001 - reported below, where no precision runs
            failure = failure or error
    raise CompressionError(
        f"{type(model).__name__} doesn't run on the example inputs: {_first_line(failure)}"
    ) from failure


def _vary(model: nn.Module, generator: torch.Generator) -> None:
    """Make parameters and running statistics differ where they are one number throughout."""
    statistics = {
        name: buffer
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }
    with torch.no_grad():
        for tensor in [*model.parameters(), *statistics.values()]:
            if tensor.is_floating_point() and tensor.numel() > 1:
                least, most = torch.aminmax(tensor)
                if least == most:
                    values = torch.rand(tensor.shape, generator=generator) + 0.5
                    tensor.copy_(values / max(1, tensor[0].numel()) ** 0.5)


def _removal(group: ChannelGroup) -> Tensor:
    """About half of a group's channels at random, the same at each call; no layer loses its last.

    Each group has a half of its own: groups of one size that are tied without being known to be
    would hide that by losing the same channels. The number that stays has no divisor in common
    with the group's size, so that a forward that counts on one fails.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(group.name.encode()))
    order = torch.randperm(group.size, generator=generator)
    removable = order[~torch.isin(order, group.indispensable(order))]
    count = min(len(removable), group.size // 2)
    while count > 1 and math.gcd(group.size - count, group.size) > 1:
        count -= 1
    return removable[:count]


def _layout(
    groups: Sequence[ChannelGroup],
    members: Sequence[int],
    removed: Callable[[ChannelGroup], Tensor],
) -> Layout:
    kept = Layout.dense(groups).kept
    for index in members:
        kept[index][removed(groups[index])] = False
    return Layout(kept)


def _forward(model: nn.Module, inputs: ExampleInputs) -> tuple[_Run, list[Tensor]]:
    """A function that gives all output tensors, in training's structure where that runs.

    It has been called once, and what it gave then is returned too.

    Random numbers are the same at every call with the same seed.

    Raises:
        Exception: whatever the model raises when it runs in no mode at all.
    """

    devices = {tensor.device for tensor in model.parameters() if tensor.is_cuda}

    def run(seed: int = 0) -> list[Tensor]:
        with torch.no_grad(), eagerly(), torch.random.fork_rng(list(devices)):
            torch.manual_seed(seed)
            output: Any = inputs.call(model)
        return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]

    set_structural_mode(model)
    try:
        return run, run()
    except Exception:  # noqa: BLE001 - some models train on other inputs than they evaluate
        model.eval()
        return run, run()


def _differ(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return not all(
        torch.allclose(mine, theirs, rtol=0, atol=0, equal_nan=True)
        for mine, theirs in zip(first, second, strict=True)
    )


def _equal(wanted: Tensor, got: Tensor, tolerance: float) -> bool:
    if not wanted.is_floating_point():
        return bool(torch.equal(wanted, got))
    if not wanted.isfinite().all():
        return bool(torch.allclose(wanted, got, rtol=tolerance, equal_nan=True))
    if not wanted.numel():
        return True
    scale = wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)
    return bool((wanted - got).abs().max() <= tolerance * scale)


def _failure(error: Exception) -> str:
    return f"the forward fails without its channels ({_first_line(error)})"


def _first_line(error: Exception | None) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
