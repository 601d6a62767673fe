"""A network in which a fault would be seen: nothing is all alike, and signals don't die away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from accaware.pytorch.memory import raise_if_out_of_memory
from accaware.pytorch.trials.trial import Trial


def vary(model: nn.Module, trials: Iterable[Trial]) -> None:
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


def _fit_batch_norms(model: nn.Module, trials: Iterable[Trial]) -> None:
    for trial in trials:
        try:
            with torch.no_grad(), _Fitting():
                trial.run(model)
            return
        except Exception as error:  # noqa: BLE001 - it is told where no trial runs
            raise_if_out_of_memory(error)


class _Fitting(TorchFunctionMode):
    """Gives each batch norm the statistics of what it is given, before it normalises that."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            _fit(*args, **{key: kwargs[key] for key in _NAMES if key in kwargs})
        return func(*args, **kwargs)


_NAMES = ("input", "running_mean", "running_var")


def _fit(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *_: Any,
) -> None:
    rows = input.transpose(0, 1).flatten(1)
    if running_mean is None or running_var is None or rows.shape[1] < 2:
        return
    variances, means = torch.var_mean(rows, 1)
    fits = variances.isfinite() & (variances > 0)
    running_mean.copy_(torch.where(fits, means, running_mean))
    running_var.copy_(torch.where(fits, variances, running_var))
