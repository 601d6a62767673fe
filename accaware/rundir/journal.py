"""events.jsonl: what happened in a run, one line an event, as it happens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accaware.rundir import strict_json
from accaware.search.events import BatchFinished, Event, SearchFinished


class Journal:
    """Appends the events it is told of to a file, as ``{"time", "event", ...}``.

    Every line is flushed at once, so that a run that was killed has its journal up to there.
    Batches are left out: they matter to a progress bar, not to whoever reads this later.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def run_started(self, *, device: str, left_out: Iterable[tuple[str, str]]) -> None:
        """The first line: where it runs, and the layers that are left out, and why."""
        layers = [{"layer": layer, "reason": reason} for layer, reason in left_out]
        self._append("run_started", {"device": device, "left_out": layers})

    def notify(self, event: Event) -> None:
        if isinstance(event, BatchFinished):
            return
        content = strict_json.plain(event)
        if isinstance(event, SearchFinished):
            # The lines above tell of every trial already.
            del content["result"]["trials"]
        self._append(_snake_case(type(event).__name__), content)

    def _append(self, event: str, content: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(strict_json.line({"time": now, "event": event, **content}) + "\n")
        self._file.flush()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
