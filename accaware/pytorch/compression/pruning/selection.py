"""Which groups the config allows to be pruned, before anything is tried."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from accaware.config.model.config import FilterPruningParams
from accaware.pytorch.channels.groups import Dependencies
from accaware.pytorch.channels.layout import ChannelGroup, ExcludedLayer
from accaware.pytorch.model.layers import is_depthwise
from accaware.pytorch.model.scopes import Scopes


def select_groups(
    model: nn.Module, dependencies: Dependencies, params: FilterPruningParams, scopes: Scopes
) -> tuple[list[ChannelGroup], list[ExcludedLayer]]:
    """The allowed groups, and the layers of the others with the reason.

    Coupled layers go together or not at all, so one layer that has to stay keeps its group.
    """
    modules = dict(model.named_modules())
    allowed: list[ChannelGroup] = []
    excluded: list[ExcludedLayer] = []
    for group in dependencies.groups:
        reasons = {
            layer: reason
            for layer in group.producers
            if (reason := _reason(layer, modules[layer], dependencies, params, scopes))
        }
        if not reasons:
            allowed.append(group)
            continue
        cause, why = next(iter(reasons.items()))
        for layer in group.producers:
            excluded.append(
                ExcludedLayer(layer, reasons.get(layer, f"it is coupled with {cause}: {why}"))
            )
    return allowed, excluded


def _reason(
    name: str,
    module: nn.Module,
    dependencies: Dependencies,
    params: FilterPruningParams,
    scopes: Scopes,
) -> str | None:
    if not params.prune_first_conv and name in dependencies.first_convolutions:
        return "it is a first convolution (prune_first_conv is false)"
    stride = getattr(module, "stride", 1)
    downsamples = any(step > 1 for step in (stride if isinstance(stride, Iterable) else (stride,)))
    # A depthwise convolution has no filters of its own choosing: it follows its input.
    if downsamples and not params.prune_downsample_convs and not is_depthwise(module):
        return "it is a convolution with stride (prune_downsample_convs is false)"
    return scopes.why_excluded(name)
