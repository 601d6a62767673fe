"""Which groups may be pruned by what was asked for, before anything is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from accaware.pytorch.channels.groups import Dependencies
from accaware.pytorch.channels.layout import ChannelGroup, ExcludedLayer
from accaware.pytorch.model.layers import is_depthwise
from accaware.pytorch.model.scopes import Scopes


def select_groups(
    model: nn.Module,
    dependencies: Dependencies,
    scopes: Scopes,
    *,
    prune_first_conv: bool,
    prune_downsample_convs: bool,
) -> tuple[list[ChannelGroup], list[ExcludedLayer]]:
    """The allowed groups, and the layers of the others with the reason.

    Coupled layers go together or not at all, so one layer that has to stay keeps its group.
    """
    modules = dict(model.named_modules())

    def why_excluded(layer: str) -> str | None:
        name = _module_of(layer, modules)
        if not prune_first_conv and name in dependencies.first_convolutions:
            return "it is a first convolution (prune_first_conv is false)"
        if not prune_downsample_convs and _downsamples(modules[name]):
            return "it is a convolution with stride (prune_downsample_convs is false)"
        return scopes.why_excluded(name)

    allowed: list[ChannelGroup] = []
    excluded: list[ExcludedLayer] = []
    for group in dependencies.groups:
        reasons = {layer: reason for layer in group.producers if (reason := why_excluded(layer))}
        if not reasons:
            allowed.append(group)
            continue
        cause, why = next(iter(reasons.items()))
        for layer in group.producers:
            excluded.append(
                ExcludedLayer(layer, reasons.get(layer, f"it is coupled with {cause}: {why}"))
            )
    return allowed, excluded


def by_module(model: nn.Module, entries: Iterable[ExcludedLayer]) -> Sequence[ExcludedLayer]:
    """In the order of the modules; weights of one that have the same reason are listed once."""
    modules = dict(model.named_modules())
    order = {name: place for place, name in enumerate(modules)}
    listed: dict[tuple[str, str], list[ExcludedLayer]] = {}
    for entry in sorted(entries, key=lambda entry: order[_module_of(entry.layer, modules)]):
        module = _module_of(entry.layer, modules)
        # The model itself has no name.
        listed.setdefault((module or entry.layer, entry.reason), []).append(entry)
    return [
        members[0] if len(members) == 1 else replace(members[0], layer=module)
        for (module, _), members in listed.items()
    ]


def _module_of(layer: str, modules: Mapping[str, nn.Module]) -> str:
    """The module that a layer is, or whose parameter."""
    return layer if layer in modules else layer.rpartition(".")[0]


def _downsamples(module: nn.Module) -> bool:
    # A depthwise convolution has no filters of its own choosing: it follows its input.
    if is_depthwise(module):
        return False
    stride = getattr(module, "stride", 1)
    return any(step > 1 for step in (stride if isinstance(stride, Iterable) else (stride,)))
