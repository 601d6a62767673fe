"""The fake case behind a tape that records and has nothing to replay."""

from __future__ import annotations

from typing import Any

from accaware.search.callbacks import TrainingCallbacks
from accaware.search.replay.tape import Tape
from accaware.search.replay.taped_runner import TapedRunner
from tests.runners import fake
from tests.runners.base import Case


def make_case() -> Case:
    case = fake.make_case()
    create: Any = case.controller.create_runner

    def create_runner(model: Any, callbacks: TrainingCallbacks, log_dir: str | None) -> TapedRunner:
        return TapedRunner(create(model, callbacks, log_dir), Tape())

    case.controller.create_runner = create_runner  # type: ignore[method-assign]
    return case
