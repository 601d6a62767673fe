"""Observers that need nothing but what they are given."""

from __future__ import annotations

import warnings
from typing import Any

from accaware.errors import AccAwareWarning
from accaware.search.events import EpochFinished, Event, TrialFinished, Warned


class PythonWarnings:
    """Warns as Python does, for a script of the user's."""

    def notify(self, event: Event) -> None:
        """Warn where the search warns; other events pass by."""
        if isinstance(event, Warned):
            warnings.warn(event.message, AccAwareWarning, stacklevel=2)


class TensorBoardObserver:
    """Writes scalars to anything with ``add_scalar(tag, value, step)``; steps are epochs."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def notify(self, event: Event) -> None:
        """Write an epoch's numbers, and a trial's target and verdict at its last epoch."""
        if isinstance(event, EpochFinished):
            epoch = event.epoch
            scalars = {
                "train/loss": epoch.loss,
                "validation/metric": epoch.metric,
                "compression/rate": epoch.compression_rate,
                "compression/model_sparsity": epoch.model_sparsity,
            }
            for tag, value in scalars.items():
                if value is not None:
                    self._writer.add_scalar(tag, value, epoch.number)
        elif isinstance(event, TrialFinished) and event.trial.epochs:
            last = event.trial.epochs[-1].number
            self._writer.add_scalar("search/target_rate", event.trial.target_rate, last)
            self._writer.add_scalar("search/within_budget", event.trial.within_budget, last)
