"""What shows a run elsewhere while it goes on: TensorBoard's files, an MLflow server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accaware.trackers.mlflow_tracker import MlflowTracker
from accaware.trackers.tensorboard_tracker import TensorBoardTracker

__all__ = ["TRACKERS", "check_installed"]

TRACKERS: Mapping[str, type[TensorBoardTracker | MlflowTracker]] = {
    each.name: each for each in (TensorBoardTracker, MlflowTracker)
}
"""By the name in a config, which is its extra's as well."""


def check_installed(names: Iterable[str]) -> None:
    """See that trackers of these names can be used.

    Raises:
        MissingExtraError: one of them isn't installed.
    """
    for name in names:
        TRACKERS[name].check_installed()
