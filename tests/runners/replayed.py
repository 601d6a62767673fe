"""The fake case behind a replay that records and has nothing to replay."""

from __future__ import annotations

from typing import Any

from accaware.search.metric import DenseReferences
from accaware.search.ports import TrainingCallbacks
from accaware.search.replay.replay import Replay
from accaware.search.replay.replayed_runner import ReplayedRunner
from tests.runners import fake
from tests.runners.base import Case


def make_case() -> Case:
    case = fake.make_case()
    create: Any = case.controller.create_runner

    def create_runner(
        model: Any,
        callbacks: TrainingCallbacks,
        log_dir: str | None,
        references: DenseReferences | None = None,
    ) -> ReplayedRunner:
        return ReplayedRunner(create(model, callbacks, log_dir, references), Replay())

    case.controller.create_runner = create_runner  # type: ignore[method-assign]
    return case
