"""Magnitude sparsity: the smallest of the weights that inputs are multiplied with are held at zero.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015). There
is no smaller network to train, so the whole cost is one multiplication of the weights by their
masks after each optimizer step; forward and backward know nothing of it.

Semi-structured, two of every four weights along the inputs are zero, for hardware that skips them
(Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from accaware.errors import CheckpointError, CompressionError
from accaware.pytorch.channels.layout import KeptMasks, same_tensors
from accaware.pytorch.channels.shared import Key, Shared
from accaware.pytorch.compression.pruning.lowest import Score, masks_of
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.weights.left_out import EMBEDDING, coverage_warning, left_out
from accaware.pytorch.weights.weights import Role, Weight, weights_of

_ROW = 4
"""Weights of a semi-structured row, of which the half is zero."""


class MagnitudeSparsity:
    """Holds the least important weights at zero.

    The compression rate is the share of zeros among the weights that it covers.

    Args:
        model: trained; its weights are zeroed in place from here on.
        scopes: the layers to cover.
        inputs: to follow the model with, where only that tells what is a weight.
        importance: abs for magnitudes, normed_abs for these in units of their layer's norm.
        local: each layer gets the same share of zeros; else all layers are ranked together.
        semi_structured: 2 of every 4 weights along the inputs are zero at any rate above 0.
        embeddings: cover the weights of embeddings, too.

    Raises:
        CompressionError: no layer is left to cover.
    """

    name = "magnitude_sparsity"

    def __init__(
        self,
        model: nn.Module,
        scopes: Scopes,
        inputs: ExampleInputs,
        *,
        importance: str = "normed_abs",
        local: bool = False,
        semi_structured: bool = False,
        embeddings: bool = False,
    ) -> None:
        self._model = model
        self._importance = importance
        self._local = local
        self.maximal_compression_rate = 0.5 if semi_structured else 1.0
        weights = weights_of(model, inputs)
        # Rows of an embedding aren't summed over, so that it has none of four.
        looked_up = embeddings and not semi_structured
        multiplied = [
            each
            for each in weights
            if each.role is not None and (looked_up or each.role is not Role.EMBEDDING)
        ]
        reasons = _reasons(multiplied, scopes, rows=semi_structured)
        chosen: dict[int, Weight] = {}
        for each in multiplied:
            if each.name not in reasons:
                chosen.setdefault(id(each.parameter), each)
        self._weights = {each.name: each.parameter for each in chosen.values()}
        self._inputs = {each.name: each.inputs for each in chosen.values()}
        self._semi_structured = semi_structured
        for each in weights:
            if each not in multiplied and id(each.parameter) not in chosen:
                reason = each.reason
                if each.role is Role.EMBEDDING:
                    remedy = "" if semi_structured else "; sparsify_embeddings covers it"
                    reason = EMBEDDING + remedy
                assert reason is not None
                reasons[each.name] = scopes.why_excluded(each.layer) or reason
        self.excluded = left_out(model, weights, reasons, [scopes])
        if not self._weights:
            told = "; ".join(f"{entry.layer}: {entry.reason}" for entry in self.excluded[:3])
            raise CompressionError(
                f"no weight of {type(model).__name__} can be made sparse "
                f"({told or 'it has no convolution and no linear layer'})"
            )
        self._warnings = coverage_warning(self.name, model, self._weights.values())
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
        if self._semi_structured:
            masks = [
                _two_of_four(dense[name], dim) if target > 0 else torch.ones_like(mask)
                for (name, dim), mask in zip(
                    self._inputs.items(), self._masks.values(), strict=True
                )
            ]
        elif self._local:
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
        """Where little of the model is covered, or rows of four don't fit into some layers."""
        odd = [
            name
            for name, dim in self._inputs.items()
            if self._semi_structured and self._weights[name].shape[dim or 0] % _ROW
        ]
        if not odd:
            return self._warnings
        message = (
            f"{len(odd)} of {len(self._weights)} weights stay dense, the first {odd[0]}: pruning "
            f"has left them a number of inputs that is no multiple of {_ROW}; set filter_pruning's "
            f"channel_multiple to {_ROW}"
        )
        return (*self._warnings, message)

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


def _reasons(weights: Sequence[Weight], scopes: Scopes, *, rows: bool) -> dict[str, str]:
    """Why weights that inputs are multiplied with aren't to be made sparse, by their names.

    One that is tied is covered only if none of the layers that multiply with it is to be excluded.

    Args:
        rows: whether rows of four have to fit.
    """
    reasons: dict[str, str] = {}
    excluded: dict[int, str] = {}
    for each in weights:
        reason = scopes.why_excluded(each.layer) or (_why_no_rows(each) if rows else None)
        if reason is not None:
            reasons[each.name] = reason
            excluded.setdefault(id(each.parameter), each.layer or each.name)
    for each in weights:
        if each.name not in reasons and id(each.parameter) in excluded:
            other = excluded[id(each.parameter)]
            reasons[each.name] = f"it shares its weight with {other}, which is excluded"
    return reasons


def _why_no_rows(weight: Weight) -> str | None:
    if weight.inputs is None:
        return "it isn't known along which of its dimensions the inputs lie"
    size = weight.parameter.shape[weight.inputs]
    if size % _ROW:
        return f"{size} inputs go into each of its outputs, which is no multiple of {_ROW}"
    return None


def _two_of_four(weight: Tensor, dim: int | None) -> Tensor:
    """A mask that drops the two smallest of every four weights along a dimension.

    It drops none where the dimension is no multiple of four. Of equal weights the first go.
    """
    assert dim is not None
    if weight.shape[dim] % _ROW:
        return torch.ones_like(weight, dtype=torch.bool)
    last = weight.movedim(dim, -1)
    rows = last.reshape(*last.shape[:-1], -1, _ROW)
    order = rows.abs().argsort(dim=-1, stable=True)
    mask = torch.ones_like(rows, dtype=torch.bool).scatter_(-1, order[..., : _ROW // 2], False)
    return mask.flatten(-2).movedim(-1, dim).contiguous()
