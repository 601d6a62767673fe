"""The data of a first config, by what its user has."""

from __future__ import annotations

from typing import Any

from accaware.starter.commented import Blank

Data = dict[str, Any]

PATIENCE = 5
"""Epochs of a trial. They count several times over, so that a first run isn't a long one."""

_EARLY_EXIT_EPOCHS = 10


def lightning_module(
    *, module: str, datamodule: str | None, monitor: str, checkpoint: str | None
) -> Data:
    """A LightningModule as it is."""
    arguments: Data = {"module": module, "checkpoint": checkpoint or Blank("last.ckpt")}
    if datamodule is not None:
        arguments["datamodule"] = datamodule
    return {"plugin": "accaware.lightning", "plugin_args": {**arguments, "monitor": monitor}}


def search(budget: float, *, searched: bool) -> Data:
    """The section ``accuracy_aware_training``.

    Args:
        budget: in percent of the baseline.
        searched: whether there is a rate to search for; else it trains until it is within budget.
    """
    params: Data = {"maximal_relative_accuracy_degradation": budget}
    if searched:
        params["patience_epochs"] = PATIENCE
    else:
        params["maximal_total_epochs"] = _EARLY_EXIT_EPOCHS
    mode = "adaptive_compression_level" if searched else "early_exit"
    return {"mode": mode, "preset": "recommended", "params": params}


def whole(source: Data, *, configured: bool, budget: float, algorithm: str) -> Data:
    """All sections.

    Args:
        source: the model and the data.
        configured: whether these bring their own batches and optimizer.
    """
    optimizer = {"type": "SGD", "base_lr": 0.01, "optimizer_params": {"momentum": 0.9}}
    return {
        **source,
        **({} if configured else {"batch_size": 64, "optimizer": optimizer}),
        "accuracy_aware_training": search(budget, searched=algorithm != "quantization"),
        "compression": {"algorithm": algorithm},
    }
