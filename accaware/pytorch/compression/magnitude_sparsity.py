"""Magnitude sparsity: the smallest weights of convolutions and linear layers are held at zero.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015). There
is no smaller network to train, so the whole cost is one multiplication of the weights by their
masks after each optimizer step; forward and backward know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.errors import CheckpointError, CompressionError
from accaware.pytorch.channels.layout import ExcludedLayer, KeptMasks, same_tensors
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.channels.uncovered import uncovered_weights
from accaware.pytorch.compression.pruning.lowest import Score, masks_of
from accaware.pytorch.model.layers import CONVOLUTIONS, TRANSPOSED, why_computed
from accaware.pytorch.model.scopes import Scopes


class MagnitudeSparsity:
    """Holds the least important weights at zero.

    The compression rate is the share of zeros among the weights of the layers it covers.

    Args:
        model: trained; its weights are zeroed in place from here on.
        scopes: the layers to cover.
        importance: abs for magnitudes, normed_abs for these in units of their layer's norm.
        local: each layer gets the same share of zeros; else all layers are ranked together.

    Raises:
        CompressionError: no layer is left to cover.
    """

    name = "magnitude_sparsity"
    maximal_compression_rate = 1.0

    def __init__(
        self,
        model: nn.Module,
        scopes: Scopes,
        *,
        importance: str = "normed_abs",
        local: bool = False,
    ) -> None:
        self._importance = importance
        self._local = local
        modules = dict(model.named_modules())
        self._weights, self.excluded = _covered(modules, scopes)
        listed = {entry.layer for entry in self.excluded}
        self.excluded += uncovered_weights(model, self._weights, listed)
        if not self._weights:
            reasons = "; ".join(f"{entry.layer}: {entry.reason}" for entry in self.excluded[:3])
            raise CompressionError(
                f"no weight of {type(model).__name__} can be made sparse "
                f"({reasons or 'it has no convolution and no linear layer'})"
            )
        self.restart()

    def restart(self) -> None:
        """Take the weights for dense ones as they are now, in whatever shapes they have."""
        # What a zeroed weight was, for when the rate falls; a kept one is read off the model.
        self._dense = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._masks = {
            name: torch.ones_like(weight, dtype=torch.bool) for name, weight in self._dense.items()
        }
        self._key = Key()

    def release(self) -> None:
        """Give all weights their dense values, until ``hold``, ``restart`` or a new rate."""
        dense = self.dense_tensors()
        for name, weight in self._weights.items():
            weight.data.copy_(dense[name])

    def hold(self) -> None:
        """Put the zeros back that ``release`` took away."""
        self._mask_weights()

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights that are made sparse, by name."""
        return self._weights

    @property
    def compression_rate(self) -> float:
        """The share of the covered weights that are zero, counted on the tensors."""
        zeros = sum(
            weight.numel() - int(torch.count_nonzero(weight)) for weight in self._weights.values()
        )
        return zeros / sum(weight.numel() for weight in self._weights.values())

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        """Zero the smallest weights, over all layers or in each."""
        dense = self.dense_tensors()
        names, tensors = list(dense), list(dense.values())
        if self._local:
            scores = [self._scores([tensor]) for tensor in tensors]
            pairs = zip(tensors, scores, strict=True)
            masks = [masks_of([tensor], target, score)[0] for tensor, score in pairs]
        else:
            masks = masks_of(tensors, target, self._scores(tensors))
        self._apply(dict(zip(names, masks, strict=True)))

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        """The one schedule's level is the rate."""
        (target,) = levels
        self.set_rate(target, optimizers)

    def attach(self, optimizer: Optimizer) -> None:
        """Masks the weights after each of the optimizer's steps."""
        optimizer.register_step_post_hook(lambda *_: self._mask_weights())

    def dense_tensors(self) -> Mapping[str, Tensor]:
        """The covered weights, with their last values in the place of masked ones."""
        self._follow()
        with torch.no_grad():
            for name, weight in self._weights.items():
                dense = self._dense[name]
                torch.where(self._masks[name], weight.data, dense, out=dense)
        return self._dense

    def state_dict(self) -> dict[str, Any]:
        """The masks, and the dense weights behind them."""
        # What is held at zero has no values that change, so until the masks do, it is the same.
        content = {"masks": dict(self._masks), "dense": dict(self._dense)}
        return {"dense": Shared("dense", content, self._key)}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over masks and dense weights, and zero what the masks say.

        Raises:
            CheckpointError: they are of other layers, or of other shapes.
        """
        shared: Shared = state["dense"]
        masks = shared.content["masks"]
        if {name: mask.shape for name, mask in masks.items()} != {
            name: weight.shape for name, weight in self._weights.items()
        }:
            raise CheckpointError("the checkpoint's sparse layers are not this model's")
        self._follow()
        for name, tensor in self._dense.items():
            tensor.copy_(shared.content["dense"][name])
        self._apply({name: mask.to(self._masks[name].device) for name, mask in masks.items()})
        self._key = shared.key

    def kept_masks(self) -> KeptMasks:
        """Empty: every tensor keeps its shape."""
        return {}

    def describe(self) -> str:
        """How many layers are covered, and the share of their weights that is zero."""
        return (
            f"magnitude sparsity of {len(self._weights)} layers: "
            f"{self.compression_rate:.1%} of their weights are zero"
        )

    def warnings(self) -> Sequence[str]:
        """None: weights are always at hand."""
        return ()

    def _scores(self, tensors: Sequence[Tensor]) -> Score:
        """Magnitudes, in units of the layer's norm where layers are to be comparable."""
        precise = torch.float32
        for tensor in tensors:
            precise = torch.promote_types(precise, tensor.dtype.to_real())
        units: list[Tensor] = []
        if self._importance == "normed_abs":
            least = torch.finfo(precise).tiny
            real = (each.abs() if each.is_complex() else each for each in tensors)
            norms = (torch.linalg.vector_norm(each, dtype=precise) for each in real)
            units = [norm.clamp_min(least) for norm in norms]

        def score(part: Tensor, at: int) -> Tensor:
            magnitudes = part.abs().to(precise)
            return magnitudes.div_(units[at]) if units else magnitudes

        return score

    def _apply(self, masks: Mapping[str, Tensor]) -> None:
        if not same_tensors(self._masks, masks):
            self._key = Key()
        self._masks = dict(masks)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.data.copy_(self._dense[name])
        self._mask_weights()

    def _mask_weights(self) -> None:
        self._follow()
        with torch.no_grad():
            # As bytes: multiplying by them takes half of the time of multiplying by truth values.
            torch._foreach_mul_(
                [weight.data for weight in self._weights.values()],
                [mask.view(torch.uint8) for mask in self._masks.values()],
            )

    def _follow(self) -> None:
        """Go where the weights are, and be of their type: the user may have moved the model."""
        for name, weight in self._weights.items():
            dense = self._dense[name]
            if dense.device != weight.device or dense.dtype != weight.dtype:
                self._dense[name] = dense.to(weight.data)
                self._masks[name] = self._masks[name].to(weight.device)


def _covered(
    modules: Mapping[str, nn.Module], scopes: Scopes
) -> tuple[dict[str, Tensor], list[ExcludedLayer]]:
    """Weights to make sparse, by name, and the layers that are excluded.

    A weight that several layers share appears once, under its first name, and only if none of
    these layers is to be excluded.
    """
    layers = {
        name: module
        for name, module in modules.items()
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear))
    }
    excluded: list[ExcludedLayer] = []
    spared: dict[int, str] = {}
    for name, module in layers.items():
        reason = scopes.why_excluded(name) or why_computed(module)
        own = module._parameters.get("weight")
        if reason is not None:
            excluded.append(ExcludedLayer(name, reason))
            if own is not None:
                spared.setdefault(id(own), name)
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    listed = {entry.layer for entry in excluded}
    for name, module in layers.items():
        weight = module.weight
        if name in listed:
            continue
        if id(weight) in spared:
            reason = f"it shares its weight with {spared[id(weight)]}, which is excluded"
            excluded.append(ExcludedLayer(name, reason))
        elif id(weight) not in seen:
            seen.add(id(weight))
            weights[f"{name}.weight"] = weight
    return weights, excluded
