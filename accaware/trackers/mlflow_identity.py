"""Which run of which MLflow server shows a run: mlflow.json in its directory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from accaware.results import strict_json
from accaware.rundir.atomic import write_text


@dataclass(frozen=True, kw_only=True)
class MlflowIdentity:
    """Written before the server is asked for anything.

    A process that is killed at any moment leaves no run that the next one wouldn't find.

    Attributes:
        run: that the server's run is tagged with.
        tracking_uri: of the server or the store, without a password.
        experiment_name, experiment_id: where it is; the default one where both are None.
        complete: nothing is missing there any more.
    """

    run: str
    tracking_uri: str
    experiment_name: str | None
    experiment_id: str | None
    complete: bool = False

    @classmethod
    def new(cls, tracking_uri: str, environment: Mapping[str, str]) -> Self:
        """Of a run that is shown for the first time, where MLflow's variables say."""
        return cls(
            run=uuid.uuid4().hex,
            tracking_uri=without_password(tracking_uri),
            experiment_name=environment.get("MLFLOW_EXPERIMENT_NAME"),
            experiment_id=environment.get("MLFLOW_EXPERIMENT_ID"),
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The one in a file; None where there is none.

        Raises:
            OSError, TypeError, ValueError: it can't be read.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: it can't be written.
        """
        write_text(path, strict_json.document(asdict(self)))


def without_password(uri: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri
