"""A network in which a fault would be seen: nothing is all alike, and signals don't die away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from accaware.pytorch.channels.trials.trial import RemovalTrial
from accaware.pytorch.model.device import raise_if_out_of_memory
from accaware.pytorch.model.function_mode import FunctionMode


def vary(model: nn.Module, trials: Iterable[RemovalTrial]) -> None:
    """Change parameters that are one number throughout, and fit batch norms to the first trial.

    Scales that start at zero hide what comes before them. Running statistics that don't fit (a
    fresh model's, or a trained one's on noise) let signals shrink from layer to layer, until the
    outputs hardly depend on the first of them.
    """
    generator = torch.Generator().manual_seed(0)
    statistics = [
        buffer
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    ]
    with torch.no_grad():
        for tensor in [*model.parameters(), *statistics]:
            if tensor.is_floating_point() and tensor.numel() > 1:
                least, most = torch.aminmax(tensor)
                if least == most:
                    values = torch.rand(tensor.shape, generator=generator) + 0.5
                    tensor.copy_(values / max(1, tensor[0].numel()) ** 0.5)
    if statistics:
        _fit_batch_norms(model, trials)


def _fit_batch_norms(model: nn.Module, trials: Iterable[RemovalTrial]) -> None:
    for trial in trials:
        try:
            with torch.no_grad(), _Fitting():
                trial.run(model)
            return
        except Exception as error:  # noqa: BLE001 - it is told where no trial runs
            raise_if_out_of_memory(error)


class _Fitting(FunctionMode):
    """Gives each batch norm statistics of the size of what it is given, before it normalises."""

    def called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if func is functional.batch_norm:
            _fit(*args, **{key: kwargs[key] for key in _NAMES if key in kwargs})
        return func(*args, **kwargs)


_NAMES = ("input", "running_mean", "running_var")


@torch.no_grad()  # a forward may record gradients itself
def _fit(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *_: Any,
) -> None:
    if running_mean is None or running_var is None:
        return
    # Of the layer as a whole: a channel that hardly varies, as on a map of a few pixels, would be
    # blown up by its own, and rounding with it.
    power = input.square().mean()
    if power.isfinite() and power > 0:
        running_mean.copy_(0.2 * power.sqrt() * (torch.rand_like(running_mean) - 0.5))
        running_var.copy_(power * (0.5 + torch.rand_like(running_var)))
