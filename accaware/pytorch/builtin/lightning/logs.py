"""What a module logs over an epoch, reduced as Lightning reduces it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from accaware.errors import PluginContractError
from accaware.pytorch.distributed.agreement import gathered, is_one_of_several
from accaware.wording import did_you_mean

_REDUCTIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": lambda values, weights: (values * weights).sum() / weights.sum(),
    "sum": lambda values, weights: values.sum(),
    "min": lambda values, weights: values.min(),
    "max": lambda values, weights: values.max(),
}


class Logs:
    """Stands in for a module's ``log`` and ``log_dict`` while an epoch runs.

    Args:
        of_all: what is logged with ``sync_dist`` is reduced over all processes.

    Attributes:
        batch_size: of the batch at hand, by which a mean is weighted.
    """

    def __init__(self, *, of_all: bool = False) -> None:
        self._of_all = of_all
        self.batch_size = 1
        self._values: dict[str, list[Tensor]] = {}
        self._weights: dict[str, list[float]] = {}
        self._reductions: dict[str, str] = {}
        self._synchronized: set[str] = set()
        self._metrics: dict[str, Any] = {}

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        *_: Any,
        batch_size: int | None = None,
        **__: Any,
    ) -> None:
        """As LightningModule's; where it is shown has no effect.

        Raises:
            PluginContractError: the reduction is none of mean, sum, min and max.
        """
        if hasattr(value, "compute") and hasattr(value, "reset"):
            self._metrics[name] = value
            return
        reduction = getattr(reduce_fx, "__name__", reduce_fx)
        if reduction not in _REDUCTIONS:
            raise PluginContractError(
                f"self.log({name!r}, reduce_fx={reduction}): accaware reduces by "
                f"{', '.join(_REDUCTIONS)}"
            )
        number = torch.as_tensor(value).detach().to("cpu", torch.float64)
        self._reductions[name] = reduction
        if sync_dist and self._of_all:
            self._synchronized.add(name)
        self._values.setdefault(name, []).append(number)
        self._weights.setdefault(name, []).append(batch_size or self.batch_size)

    def log_dict(self, dictionary: Mapping[str, Any], *args: Any, **keywords: Any) -> None:
        """Each of them; a collection of metrics is such a mapping."""
        for name, value in dictionary.items():
            self.log(name, value, *args, **keywords)

    def value(self, name: str) -> Tensor:
        """What was logged by that name over the epoch; every process has to ask.

        Raises:
            PluginContractError: nothing was, or no number.
        """
        if name in self._metrics:
            metric: Tensor = self._metrics[name].compute()
            return metric
        if name not in self._values:
            known = [*self._values, *self._metrics]
            near = did_you_mean(name, known) or f"; it logs {', '.join(known) or 'nothing'}"
            raise PluginContractError(f"monitor {name}: the validation doesn't log that{near}")
        values = torch.stack([value.squeeze() for value in self._values[name]])
        weights = torch.tensor(self._weights[name], dtype=torch.float64)
        if name in self._synchronized:
            values, weights = (torch.cat(gathered(each)) for each in (values, weights))
        return _REDUCTIONS[self._reductions[name]](values, weights)

    def end(self) -> None:
        """Let metrics begin anew."""
        for metric in self._metrics.values():
            metric.reset()


@contextmanager
def metrics_of_this_process(model: nn.Module) -> Iterator[None]:
    """Metrics of torchmetrics don't add the other processes' samples, which are the same here."""
    metrics: list[Any] = []
    if is_one_of_several():
        metrics += [each for each in model.modules() if hasattr(each, "distributed_available_fn")]
    before = [metric.distributed_available_fn for metric in metrics]
    for metric in metrics:
        metric.distributed_available_fn = _never
    try:
        yield
    finally:
        for metric, available in zip(metrics, before, strict=True):
            metric.distributed_available_fn = available


def _never() -> bool:
    return False
