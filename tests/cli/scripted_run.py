"""A CompressionRun over a real search and a scripted model: its file is its rate."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accaware.api.lifecycle.run_lifecycle import Start
from accaware.results.exports import ExportInfo
from accaware.results.layers import LayerSizes
from accaware.results.quantizers import QuantizerInfo
from accaware.results.sizes import ModelSizes, Size
from accaware.rundir.atomic import write_atomically
from accaware.search import AdaptiveParams, SearchResult
from accaware.search.ports import Observer
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import ResumableSearch
from accaware.search.trial import Checkpoint
from tests.runners.base import Config, Optimizer
from tests.runners.fake import FakeRunner, Script, adaptive, search


class ScriptedSnapshots:
    """Real files, of the fake runner and all its checkpoints."""

    def __init__(self, runner: FakeRunner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder

    def save(self, name: str) -> dict[str, str]:
        runner = self._runner
        rate = runner.optimizer and runner.optimizer.learning_rate
        content = runner.state(), runner.saved, rate, runner.controller.scheduler.state_dict()
        path = self._folder / f"{name}.pt"
        return {name: write_atomically(path, lambda file: pickle.dump(content, file))}

    def load(self, name: str, digests: Mapping[str, str]) -> None:
        content = pickle.loads((self._folder / f"{name}.pt").read_bytes())
        state, self._runner.saved, rate, schedule = content
        self._runner.restore(state)
        self._runner.optimizer = rate and Optimizer(rate)
        self._runner.controller.scheduler.load_state_dict(schedule)

    def discard(self, name: str) -> None:
        (self._folder / f"{name}.pt").unlink(missing_ok=True)


class ScriptedRun:
    """Arguments go to the scripted search, but for ``baseline``, called to measure it."""

    device = "cpu"
    export_formats = ()

    def __init__(
        self,
        metric: Script,
        params: AdaptiveParams | None,
        checkpoints: Path,
        observers: Sequence[Observer],
        replay: Replay,
        *,
        left_out: Sequence[tuple[str, str]] = (),
        **arguments: Any,
    ) -> None:
        checkpoints.mkdir(exist_ok=True)
        (checkpoints / "untouched.pt").touch()
        self.excluded = left_out
        self._measure = arguments.pop("baseline", lambda: 1.0)
        self._replay = replay
        self._world = search(metric, params, **arguments)
        runner = self._world.runner
        runner.discard = self._discard  # type: ignore[method-assign]
        self._search = ResumableSearch(
            Config(params or adaptive()),
            self._world.controller,
            runner,
            1.0,
            replay=replay,
            snapshots=ScriptedSnapshots(runner, checkpoints),
            observers=observers,
        )
        self._begun = False

    @property
    def result(self) -> SearchResult | None:
        return self._search.result if self._begun and not self._replay.replaying else None

    def search(self) -> SearchResult:
        self._measure()
        self._begun = True
        return self._search.run()

    def load_best(self) -> bool:
        best = self._search.result.best
        if best is not None:
            self._search.load(best.checkpoint)
        return best is not None

    def layers(self) -> list[LayerSizes]:
        return []

    def quantizers(self) -> list[QuantizerInfo]:
        return []

    def sizes(self) -> ModelSizes:
        left = 100 - round(100 * self._world.model.rate)
        size = Size(100, left)
        return ModelSizes(
            parameters=size, nonzero_parameters=size, flops=size, filters=size, file_size=size
        )

    def save_model(self, path: Path) -> None:
        rate = str(self._world.model.rate)
        write_atomically(path, lambda file: file.write(rate.encode()))

    def latency(self, path: Path) -> None:
        """Nothing here takes time."""

    def export(self, format: str, folder: Path) -> ExportInfo:
        raise AssertionError("nobody asked for it")

    def _discard(self, checkpoint: Checkpoint) -> None:
        self._world.runner.saved.pop(checkpoint, None)


def starting(metric: Script, params: AdaptiveParams | None = None, **arguments: Any) -> Start:
    def start(checkpoints: Path, observers: Sequence[Observer], replay: Replay) -> ScriptedRun:
        return ScriptedRun(metric, params, checkpoints, observers, replay, **arguments)

    return start
