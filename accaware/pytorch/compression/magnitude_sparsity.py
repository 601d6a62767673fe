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
from accaware.pytorch.layers import CONVOLUTIONS, TRANSPOSED
from accaware.pytorch.scopes import Scopes


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
        scopes = Scopes(config.target_scopes, config.ignored_scopes, modules)
        left_out: list[LeftOut] = []
        weights: dict[str, Tensor] = {}
        for name, module in modules.items():
            if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
                reason = scopes.why_left_out(name)
                if reason is not None:
                    left_out.append(LeftOut(name, reason))
                elif not any(module.weight is known for known in weights.values()):
                    weights[f"{name}.weight"] = module.weight
        self.left_out: Sequence[LeftOut] = left_out
        if not weights:
            raise CompressionError(
                f"{type(model).__name__} has no convolution or linear layer to make sparse"
            )
        self._weights = weights
        # What a zeroed weight was, for when the rate falls; a kept one is read off the model.
        self._dense = {name: weight.detach().clone() for name, weight in weights.items()}
        self._masks = {name: torch.ones_like(weight.data) for name, weight in weights.items()}

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
            masks = {name: _mask(values, target) for name, values in scores.items()}
        else:
            together = torch.cat([values.flatten() for values in scores.values()])
            parts = torch.split(
                _mask(together, target), [values.numel() for values in scores.values()]
            )
            masks = {
                name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)
            }
        self._apply(masks)

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
        return {"masks": {name: mask.bool() for name, mask in self._masks.items()}}

    def load_state_dict(self, state: Mapping[str, Any], dense: Mapping[str, Tensor]) -> None:
        masks = state["masks"]
        if masks.keys() != self._weights.keys():
            raise CheckpointError("the checkpoint's sparse layers are not this model's")
        for name, tensor in self._dense.items():
            tensor.copy_(dense[name])
        self._apply(masks)

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
        magnitudes = weight.abs()
        if self._params.weight_importance == "normed_abs":
            magnitudes /= weight.norm().clamp_min(torch.finfo(weight.dtype).tiny)
        return magnitudes

    def _apply(self, masks: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                self._masks[name].copy_(masks[name])
                torch.mul(self._dense[name], self._masks[name], out=weight.data)

    def _mask_weights(self) -> None:
        with torch.no_grad():
            torch._foreach_mul_(
                [weight.data for weight in self._weights.values()], list(self._masks.values())
            )


def _mask(scores: Tensor, rate: float) -> Tensor:
    """A mask that drops exactly round(rate * n) of the lowest scores; ties go in order."""
    count = round(rate * scores.numel())
    kept = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    if count:
        flat = scores.flatten()
        threshold = torch.kthvalue(flat, count).values
        kept = flat > threshold
        ties = (flat == threshold).nonzero().flatten()
        surplus = count - int((flat < threshold).sum())
        kept[ties[surplus:]] = True
    return kept.view_as(scores)
