"""Averaged weights: what is validated, kept and handed over of a trial in its last weights' place.

Shamir and Zhang, "Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and
Optimal Averaging Schemes" (2013), section 4: polynomial-decay averaging. It forgets the first steps
as fast as they are few, so it has no length that would have to fit the epochs of a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_DECAY = 10
"""The p of w = d w + (1 - d) weights, d = (1 + n) / (p + n); the paper's eta is p - 2."""

_STATISTICS = ("running_mean", "running_var")

_Norm = nn.modules.batchnorm._NormBase


class WeightAverage:
    """The average of a model's parameters and of its norms' running statistics over steps.

    It begins with the weights behind the first step of an optimizer, and anew behind the next one
    when :meth:`restart` was called. Tensors of less than single precision are averaged in that.

    Args:
        model: not in a wrapper. Tensors may change their shapes wherever ``restart`` is called;
            they are looked up by name, so that the model may be moved.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = _places(model)
        self._averages: list[Tensor] = []
        self._updates = 0
        self._following: Any = None
        self.steps = 0
        """Of all optimizers that were followed; those that a gradient scaler skipped don't count"""

    def follow(self, optimizer: Optimizer) -> None:
        """Average over this optimizer's steps, from its next one on.

        What changes the weights behind a step, such as a mask, must be attached to it before.
        """
        if self._following is not None:
            self._following.remove()
        self._following = optimizer.register_step_post_hook(self._after_step)
        self.restart()

    def restart(self) -> None:
        """Forget the average: the model is another network now."""
        self._averages = []
        self._updates = 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged values meanwhile; where there are none it stays as it is."""
        if not self._averages:
            yield
            return
        raw = [tensor.detach().clone() for tensor in self._live()]
        _put(self._averages, self._live())
        try:
            yield
        finally:
            _put(raw, self._live())

    def recalibrate(self, adapt: Callable[[], None]) -> None:
        """Give the averaged network running statistics of its own, until the next step.

        The averages of those of the networks before it lag behind: Izmailov et al., "Averaging
        Weights Leads to Wider Optima and Better Generalization" (2018), section 3.2.

        Args:
            adapt: re-estimates the model's statistics.
        """
        if not self._averages:
            return
        with self.in_place():
            adapt()
            live = self._live()
            for at, (_, key) in enumerate(self._places.values()):
                if key in _STATISTICS:
                    self._averages[at].copy_(live[at])

    def state_dict(self) -> dict[str, Any]:
        """The averages, by the names of the tensors, and how many updates they have seen."""
        averages = dict(zip(self._places, self._averages, strict=True)) if self._averages else {}
        return {"averages": averages, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the averages of ``state_dict``.

        Raises:
            ValueError: they are another model's.
        """
        averages: Mapping[str, Tensor] = state["averages"]
        live = self._live() if averages else []
        shapes = {name: tensor.shape for name, tensor in zip(self._places, live, strict=False)}
        if {name: average.shape for name, average in averages.items()} != shapes:
            raise ValueError("the averaged weights are another model's")
        pairs = zip(live, averages.values(), strict=True)
        self._averages = [average.to(tensor.device, copy=True) for tensor, average in pairs]
        self._updates = state["updates"]

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A fused optimizer is called for a step that its gradient scaler skips, and skips it.
        skips: Tensor | None = getattr(optimizer, "found_inf", None)
        if skips is None or not skips.any():
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        self.steps += 1
        live = self._live()
        if not self._averages:
            self._averages = [tensor.to(_precise(tensor), copy=True) for tensor in live]
            return
        for at, (average, tensor) in enumerate(zip(self._averages, live, strict=True)):
            if average.device != tensor.device:
                self._averages[at] = average.to(tensor.device)
            if average.dtype is not tensor.dtype:
                live[at] = tensor.to(average.dtype)
        share = (_DECAY - 1) / (_DECAY + self._updates)
        torch._foreach_lerp_(self._averages, live, share)
        self._updates += 1

    def _live(self) -> list[Tensor]:
        return [tensors[key] for tensors, key in self._places.values()]


def _places(model: nn.Module) -> dict[str, tuple[Mapping[str, Any], str]]:
    """By the name of each tensor that is averaged, where its module holds it, and under which key.

    A parameter that has several names has its first. Other buffers than running statistics are
    nothing that one could average: counts, tables, masks.
    """
    places: dict[str, tuple[Mapping[str, Any], str]] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        owned = [(module._parameters, key) for key in module._parameters]
        if isinstance(module, _Norm):
            owned += [(module._buffers, key) for key in _STATISTICS]
        for tensors, key in owned:
            tensor: Tensor | None = tensors.get(key)
            if tensor is None or id(tensor) in seen:
                continue
            if tensor.is_floating_point() or tensor.is_complex():
                seen.add(id(tensor))
                places[f"{prefix}.{key}".removeprefix(".")] = tensors, key
    return places


def _precise(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


@torch.no_grad()
def _put(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """By value: optimizers, compiled code and flat weights of recurrent layers hold the tensors."""
    for value, tensor in zip(values, tensors, strict=True):
        tensor.data.copy_(value)
