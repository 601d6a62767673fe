"""A CompressionRun over a real search and a scripted model: its file is its rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accaware.cli.conduct import Start
from accaware.rundir.sizes import ModelSizes, Size
from accaware.search import AdaptiveParams, SearchResult
from accaware.search.ports import Observer
from tests.runners.fake import Script, search


class ScriptedRun:
    """Arguments go to the scripted search, but for ``baseline``, called to measure it."""

    device = "cpu"

    def __init__(
        self,
        metric: Script,
        params: AdaptiveParams | None,
        checkpoints: Path,
        observers: Sequence[Observer],
        *,
        left_out: Sequence[tuple[str, str]] = (),
        **arguments: Any,
    ) -> None:
        checkpoints.mkdir()
        (checkpoints / "untouched.pt").touch()
        self.left_out = left_out
        self._measure = arguments.pop("baseline", lambda: 1.0)
        self._search = search(metric, params, observers=observers, **arguments)
        self._begun = False

    @property
    def result(self) -> SearchResult | None:
        return self._search.result if self._begun else None

    def search(self) -> SearchResult:
        self._measure()
        self._begun = True
        return self._search.run().result

    def load_best(self) -> bool:
        best = self._search.result.best
        if best is not None:
            self._search.runner.load(best.checkpoint)
        return best is not None

    def sizes(self) -> ModelSizes:
        left = 100 - round(100 * self._search.model.rate)
        size = Size(100, left)
        return ModelSizes(
            parameters=size, nonzero_parameters=size, flops=size, filters=size, file_size=size
        )

    def save_model(self, path: Path) -> None:
        path.write_text(str(self._search.model.rate))


def starting(metric: Script, params: AdaptiveParams | None = None, **arguments: Any) -> Start:
    def start(checkpoints: Path, observers: Sequence[Observer]) -> ScriptedRun:
        return ScriptedRun(metric, params, checkpoints, observers, **arguments)

    return start
