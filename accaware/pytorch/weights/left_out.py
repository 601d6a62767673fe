"""The one list of weights that an algorithm leaves out, with their reasons and their share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from accaware.pytorch.channels.layout import ExcludedLayer
from accaware.pytorch.model.layers import PRODUCERS, why_computed
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.weights.weights import Weight

EMBEDDING = "it is an embedding: its weight is looked up, and not multiplied with"


def left_out(
    model: nn.Module,
    weights: Sequence[Weight],
    reasons: Mapping[str, str],
    scopes: Sequence[Scopes],
) -> list[ExcludedLayer]:
    """The weights that have a reason, by the layer that they are of, in the order of the modules.

    A layer is listed once where all its weights are left out for the same reason; else its
    weights are, each by its name. A tied weight's share is told once.

    Args:
        weights: all of the model.
        reasons: by the name of the weight; one without is covered.
        scopes: each of which a layer has to be in.
    """
    total = _elements(model)
    told = {id(each.parameter) for each in weights if each.name not in reasons}
    by_layer: dict[str, list[Weight]] = {}
    for each in weights:
        by_layer.setdefault(each.layer, []).append(each)
    entries: list[ExcludedLayer] = []

    def list_as(name: str, reason: str, members: Sequence[Weight]) -> None:
        own = {id(each.parameter): each.parameter.numel() for each in members}
        share = sum(size for known, size in own.items() if known not in told) / total
        told.update(own)
        entries.append(ExcludedLayer(name, reason, share))

    for layer, module in model.named_modules():
        members = by_layer.get(layer, [])
        missing = [each for each in members if each.name in reasons]
        same = {reasons[each.name] for each in missing}
        if layer and len(missing) == len(members) and len(same) == 1:
            list_as(layer, same.pop(), missing)
        elif missing:
            for each in missing:
                list_as(each.name, reasons[each.name], [each])
        elif not members and layer and (reason := _why_none(module)) is not None:
            list_as(layer, why_excluded(layer, scopes) or reason, [])
    return entries


def why_excluded(layer: str, scopes: Sequence[Scopes]) -> str | None:
    """Why a layer isn't in all the scopes; None where it is."""
    return next(filter(None, (each.why_excluded(layer) for each in scopes)), None)


def coverage_warning(
    algorithm: str, model: nn.Module, covered: Iterable[Tensor]
) -> tuple[str, ...]:
    """What to say where an algorithm covers less than half of a model; nothing else.

    Args:
        covered: each once.
    """
    share = sum(weight.numel() for weight in covered) / _elements(model)
    if share >= 0.5:
        return ()
    message = (
        f"{algorithm} covers {share:.1%} of the parameters of {type(model).__name__}: its rate is "
        "a share of these alone; the layers that aren't compressed are listed with their reasons"
    )
    return (message,)


def _elements(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _why_none(module: nn.Module) -> str | None:
    """Why a layer has no weight among its parameters; None for what is no such layer."""
    if hasattr(module, "_packed_params") and callable(getattr(module, "weight", None)):
        # One of torch's own quantized layers, which keep their weights where nobody reaches them.
        return "its weight is stored as integers already"
    return why_computed(module) if isinstance(module, PRODUCERS) else None
