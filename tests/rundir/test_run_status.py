"""Where a run stands while several of its trials are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from accaware.cli.commands.status import status
from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal import Journal
from accaware.rundir.run_status import RunningTrial, standing
from accaware.search import AccuracyBudget, Epoch, Trial, TrialPhase, TrialState
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    SearchStarted,
    TrialFinished,
    TrialStarted,
    Waited,
)


def epoch(number: int, metric: float) -> Epoch:
    return Epoch(number=number, compression_rate=0.4, fully_compressed=True, metric=metric)


def test_trials_side_by_side_are_told_with_their_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    first = Trial(
        number=0,
        phase=TrialPhase.RAMP,
        target_rate=0.2,
        compression_rate=0.2,
        epochs=(epoch(1, 0.88),),
        metric=0.88,
        state=TrialState.WITHIN_BUDGET,
        reason="within budget",
    )
    with Journal(directory.events) as journal:
        journal.notify(SearchStarted(AccuracyBudget(0.9, 0.1), 0.9, 100))
        journal.notify(TrialStarted(0, TrialPhase.RAMP, 0.2, 0.2, 1, 1.0, None, "a/1"))
        journal.notify(EpochFinished(0, epoch(1, 0.88)))
        journal.notify(TrialFinished(first))
        for number, rate in ((1, 0.4), (2, 0.6)):
            begun = TrialStarted(number, TrialPhase.SEARCH, rate, rate, 5, 1.0, 0, f"a/{number}")
            journal.notify(begun)
        journal.notify(EpochStarted(2, 2))
        journal.notify(EpochFinished(2, epoch(2, 0.7)))
        journal.notify(Waited())
        journal.notify(TrialStarted(2, TrialPhase.SEARCH, 0.6, 0.6, 5, 1.0, 0, "b/7"))
    stands = standing(directory)
    assert stands.epochs == 2
    assert stands.current == 1
    assert stands.running == (
        RunningTrial(number=1, target_rate=0.4, epochs=0, planned_epochs=5, worker="a/1"),
        RunningTrial(number=2, target_rate=0.6, epochs=1, planned_epochs=5, worker="b/7"),
    )
    status(directory.path, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("interrupted in trials 1 and 2")
    assert lines[2:4] == [
        "trial 1: target 40.0 %, epoch 0/5, on a/1",
        "trial 2: target 60.0 %, epoch 1/5, on b/7",
    ]
