"""Groups are believed after they were tried: removing channels must equal zeroing them.

Two trials, the cheap one first. On the meta device, where tensors have shapes and no values,
the forward must run without the channels and give outputs of the same shapes. Then, on real
tensors in double precision, the model with half of each group's channels removed must compute
what the model computes with them zeroed. Many groups are tried at once; where a set fails it
is halved until the culprits stand alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from accaware.errors import CompressionError
from accaware.pytorch.channels import ChannelGroup, Layout, LeftOut
from accaware.pytorch.compact import CompactModel
from accaware.pytorch.inputs import ExampleInputs
from accaware.pytorch.modes import set_structural_mode

TOLERANCE = 1e-8
"""Largest relative difference of outputs in double precision; wrong groups miss it by far."""

_OUTPUT = "its channels are the model's output"
_MIXED = "its channels are mixed with others in a way that the dependency graph doesn't show"


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
    candidates = [group for group in groups if group.size > 1]
    left_out = [
        LeftOut(layer, "it has a single filter")
        for group in groups
        if group.size <= 1
        for layer in group.producers
    ]
    for fault_finder in (_shape_fault_finder, _value_fault_finder):
        if candidates:
            fault = fault_finder(model, candidates, inputs)
            candidates, faulty = _sift(candidates, fault)
            left_out += faulty
    return tuple(candidates), tuple(left_out)


_FaultFinder = Callable[[Sequence[int]], str | None]


def _sift(
    groups: Sequence[ChannelGroup], fault: _FaultFinder
) -> tuple[list[ChannelGroup], list[LeftOut]]:
    """Split groups into those that pass and those that don't, by halving."""
    passed: list[int] = []
    failed: list[LeftOut] = []
    pending = [list(range(len(groups)))]
    while pending:
        members = pending.pop()
        # Together with those already passed: groups that only fail side by side are caught.
        reason = fault([*passed, *members])
        if reason is None:
            passed.extend(members)
        elif len(members) == 1:
            failed.extend(LeftOut(layer, reason) for layer in groups[members[0]].producers)
        else:
            middle = len(members) // 2
            pending += [members[middle:], members[:middle]]
    return [groups[index] for index in sorted(passed)], failed


def _shape_fault_finder(
    model: nn.Module, groups: Sequence[ChannelGroup], inputs: ExampleInputs
) -> _FaultFinder:
    """Tries sets of groups on the meta device; one channel of each is removed."""
    shapes = copy.deepcopy(model).to("meta")
    compact = CompactModel(shapes, groups)
    meta_inputs = inputs.on(torch.device("meta"))
    try:
        run = _forward(shapes, meta_inputs)
        expected = run()
    except Exception:  # noqa: BLE001 - a forward that reads values; the real trial judges it
        return lambda members: None

    def fault(members: Sequence[int]) -> str | None:
        compact.set_layout(_layout(groups, members, lambda size: torch.arange(size) > 0))
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
    """Tries sets of groups in double precision; a random half of each is removed."""
    copied = copy.deepcopy(model).double().requires_grad_(False)
    compact = CompactModel(copied, groups)
    dense = Layout.dense(groups)
    generator = torch.Generator().manual_seed(0)

    def noise(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return values.to(tensor.device)

    try:
        run = _forward(copied, inputs.mapped(noise))
    except Exception as error:
        raise CompressionError(
            f"{type(model).__name__} doesn't run on the example inputs in double precision: "
            f"{_failure(error)}"
        ) from error
    halves = [torch.randperm(group.size, generator=generator) for group in groups]

    def fault(members: Sequence[int]) -> str | None:
        by_size = iter([halves[index] for index in sorted(members)])
        layout = _layout(groups, members, lambda size: next(by_size) >= size // 2)
        with compact.masked(layout):
            wanted = run()
            reproducible = all(map(torch.equal, wanted, run()))
        compact.set_layout(layout)
        try:
            got = run()
        except Exception as error:  # noqa: BLE001 - what the user's forward says is the answer
            return _failure(error)
        finally:
            compact.set_layout(dense)
        if [output.shape for output in wanted] != [output.shape for output in got]:
            return _OUTPUT
        agree = not reproducible or all(map(_equal, wanted, got))
        return None if agree else _MIXED

    return fault


def _layout(
    groups: Sequence[ChannelGroup], members: Sequence[int], keep: Callable[[int], Tensor]
) -> Layout:
    chosen = set(members)
    return Layout(
        tuple(
            keep(group.size) if index in chosen else torch.ones(group.size, dtype=torch.bool)
            for index, group in enumerate(groups)
        )
    )


def _forward(model: nn.Module, inputs: ExampleInputs) -> Callable[[], list[Tensor]]:
    """A function that gives all output tensors, in training's structure where that runs.

    Raises:
        Exception: whatever the model raises when it runs in no mode at all.
    """

    def run() -> list[Tensor]:
        with torch.no_grad():
            output: Any = inputs.call(model)
        return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]

    set_structural_mode(model)
    try:
        run()
    except Exception:  # noqa: BLE001 - some models train on other inputs than they evaluate
        model.eval()
        run()
    return run


def _equal(wanted: Tensor, got: Tensor) -> bool:
    if not wanted.is_floating_point():
        return bool(torch.equal(wanted, got))
    if not wanted.isfinite().all():
        return bool(torch.allclose(wanted, got, rtol=TOLERANCE, equal_nan=True))
    scale = wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny)
    return bool((wanted - got).abs().max() <= TOLERANCE * scale)


def _failure(error: Exception) -> str:
    text = next(iter(str(error).splitlines()), type(error).__name__)
    return f"the forward fails without its channels ({text})"
