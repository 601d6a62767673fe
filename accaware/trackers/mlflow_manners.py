"""How MLflow's client behaves while it works for a run: it waits little, and keeps to itself."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accaware.extras import import_extra

PATIENCE = {
    # MLflow would wait for 120 seconds, and try seven times more with longer and longer pauses.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
PATIENCE_WITH_FILES = {**PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""Seconds for an answer, to a request with a number or with a model; what a user has set counts."""

_TO_ITSELF = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def mannered(patience: Mapping[str, str] = PATIENCE) -> Iterator[Any]:
    """The module ``mlflow``: without telemetry, printing and long waits.

    A plugin that uses MLflow itself has it as it was, outside of this.

    Raises:
        MissingExtraError: it isn't installed.
    """
    settings = {key: value for key, value in patience.items() if key not in os.environ}
    settings |= _TO_ITSELF
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        mlflow = _imported()
        logger = logging.getLogger("mlflow")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield mlflow
        finally:
            logger.setLevel(level)
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _imported() -> Any:
    """The module; importing it sets up its telemetry and its logger."""
    if "mlflow" in sys.modules:
        return import_extra("mlflow", "mlflow")
    # Once alone: to leave this has Python show again all warnings that it had shown.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_extra("mlflow", "mlflow")
