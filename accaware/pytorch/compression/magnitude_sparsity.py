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

from accaware.config.model import MagnitudeSparsityConfig
from accaware.errors import CheckpointError, CompressionError
from accaware.pytorch.channels import KeptMasks, LeftOut
from accaware.pytorch.layers import CONVOLUTIONS, TRANSPOSED, why_computed
from accaware.pytorch.scopes import Scopes
from accaware.pytorch.shared import Key, Shared


class MagnitudeSparsity:
    """Holds the least important weights at zero.

    The compression rate is the share of zeros among the weights of the layers it covers.

    Args:
        model: trained; its weights are zeroed in place from here on.
        config: the algorithm's section.

    Raises:
        CompressionError: no layer is left to cover.
        UsageError: a scope matches nothing.
    """

    name = "magnitude_sparsity"
    maximal_compression_rate = 1.0

    def __init__(self, model: nn.Module, config: MagnitudeSparsityConfig) -> None:
        self._params = config.params
        modules = dict(model.named_modules())
        scopes = Scopes(
            model,
            config.target_scopes,
            config.ignored_scopes,
            validate=config.validate_scopes,
        )
        self._weights, self.left_out = _covered(modules, scopes)
        if not self._weights:
            reasons = "; ".join(f"{entry.layer}: {entry.reason}" for entry in self.left_out[:3])
            raise CompressionError(
                f"no weight of {type(model).__name__} can be made sparse "
                f"({reasons or 'it has no convolution and no linear layer'})"
            )
        self.restart()

    def restart(self) -> None:
        """Take the weights for dense ones as they are now, in whatever shapes they have."""
        # What a zeroed weight was, for when the rate falls; a kept one is read off the model.
        self._dense = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._masks = {name: torch.ones_like(weight) for name, weight in self._dense.items()}
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
        zeros = sum(
            weight.numel() - int(torch.count_nonzero(weight)) for weight in self._weights.values()
        )
        return zeros / sum(weight.numel() for weight in self._weights.values())

    def set_rate(self, target: float, optimizers: Iterable[Optimizer] = ()) -> None:
        dense = self.dense_tensors()
        scores = {name: self._importance(weight) for name, weight in dense.items()}
        if self._params.sparsity_level_setting_mode == "local":
            masks = {name: mask_of(values, target) for name, values in scores.items()}
        else:
            together = torch.cat([values.flatten() for values in scores.values()])
            parts = torch.split(
                mask_of(together, target), [values.numel() for values in scores.values()]
            )
            masks = {
                name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)
            }
        self._apply(masks)

    def set_levels(self, levels: Sequence[float], optimizers: Iterable[Optimizer] = ()) -> None:
        (target,) = levels
        self.set_rate(target, optimizers)

    def attach(self, optimizer: Optimizer) -> None:
        """Masks the weights after each of the optimizer's steps."""
        optimizer.register_step_post_hook(lambda *_: self._mask_weights())

    def dense_tensors(self) -> Mapping[str, Tensor]:
        with torch.no_grad():
            for name, weight in self._weights.items():
                torch.where(
                    self._masks[name].bool(), weight.data, self._dense[name], out=self._dense[name]
                )
        return self._dense

    def state_dict(self) -> dict[str, Any]:
        # What is held at zero has no values that change, so until the masks do, it is the same.
        masks = {name: mask.bool() for name, mask in self._masks.items()}
        content = {"masks": masks, "dense": dict(self._dense)}
        return {"dense": Shared("dense", content, self._key)}

    def load_state_dict(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        shared: Shared = state["dense"]
        masks = shared.content["masks"]
        if masks.keys() != self._weights.keys():
            raise CheckpointError("the checkpoint's sparse layers are not this model's")
        for name, tensor in self._dense.items():
            tensor.copy_(shared.content["dense"][name])
        self._apply(masks)
        self._key = shared.key

    def kept_masks(self) -> KeptMasks:
        """Empty: every tensor keeps its shape."""
        return {}

    def describe(self) -> str:
        return (
            f"magnitude sparsity of {len(self._weights)} layers: "
            f"{self.compression_rate:.1%} of their weights are zero"
        )

    def _importance(self, weight: Tensor) -> Tensor:
        """Magnitudes, in units of the layer's norm where layers are to be comparable."""
        magnitudes = weight.abs().float() if weight.dtype.itemsize < 4 else weight.abs()
        if self._params.weight_importance == "normed_abs":
            magnitudes /= magnitudes.norm().clamp_min(torch.finfo(magnitudes.dtype).tiny)
        return magnitudes

    def _apply(self, masks: Mapping[str, Tensor]) -> None:
        if not all(torch.equal(self._masks[name].bool(), masks[name]) for name in masks):
            self._key = Key()
        with torch.no_grad():
            for name, weight in self._weights.items():
                self._masks[name].copy_(masks[name])
                torch.mul(self._dense[name], self._masks[name], out=weight.data)

    def _mask_weights(self) -> None:
        with torch.no_grad():
            torch._foreach_mul_(
                [weight.data for weight in self._weights.values()], list(self._masks.values())
            )


def _covered(
    modules: Mapping[str, nn.Module], scopes: Scopes
) -> tuple[dict[str, Tensor], list[LeftOut]]:
    """Weights to make sparse, by name, and the layers that are left out.

    A weight that several layers share appears once, under its first name, and only if none of
    these layers is to be left out.
    """
    layers = {
        name: module
        for name, module in modules.items()
        if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear))
    }
    left_out: list[LeftOut] = []
    spared: dict[int, str] = {}
    for name, module in layers.items():
        reason = scopes.why_left_out(name) or why_computed(module)
        if reason is not None:
            left_out.append(LeftOut(name, reason))
            spared.setdefault(id(module.weight), name)
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    told = {entry.layer for entry in left_out}
    for name, module in layers.items():
        weight = module.weight
        if name in told:
            continue
        if id(weight) in spared:
            reason = f"it shares its weight with {spared[id(weight)]}, which is left out"
            left_out.append(LeftOut(name, reason))
        elif id(weight) not in seen:
            seen.add(id(weight))
            weights[f"{name}.weight"] = weight
    return weights, left_out


def mask_of(scores: Tensor, rate: float) -> Tensor:
    """A mask that drops exactly round(rate * n) of the lowest scores; ties go in order."""
    flat = scores.flatten()
    count = round(rate * flat.numel())
    if not count:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = _kth_smallest(flat, count)
    kept = flat > threshold
    surplus = flat.numel() - int(kept.count_nonzero()) - count
    if surplus:
        ties = (flat == threshold).nonzero().flatten()
        kept[ties[len(ties) - surplus :]] = True
    return kept.view_as(scores)


def _kth_smallest(scores: Tensor, k: int) -> Tensor:
    """What ``kthvalue`` gives for (n,) scores, none negative, at a third of its time.

    The bits of such floats are in the order of their values, so their upper half is a histogram
    bin, and only the bin that the answer is in has to be searched.
    """
    if scores.dtype != torch.float32:
        return scores.kthvalue(k).values
    bins = scores.view(torch.int32) >> 16
    below = torch.bincount(bins).cumsum(0)
    found = int(torch.searchsorted(below, k))
    before = int(below[found - 1]) if found else 0
    return scores[bins == found].kthvalue(k - before).values
