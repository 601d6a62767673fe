"""What trackers are told, and that a run is none the worse for them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from accaware.rundir.directory import RunDirectory
from accaware.rundir.journal_events import events
from accaware.rundir.journal_reader import read_journal
from accaware.search.events import EpochFinished, Event, LearningRateKnown
from accaware.search.ports import Observer
from accaware.trackers import tracking
from accaware.trackers.tracked_run import TrackedRun
from accaware.trackers.tracking import Tracking
from tests.trackers.conftest import SIDE_BY_SIDE, Tracked, side_by_side


class Listed:
    """A tracker that knows how often it was told of what."""

    name = "a list"

    def __init__(self, fails: type[BaseException] | None = None) -> None:
        self._fails = fails
        self.sent: list[int] = []
        self.minutes: list[float] = []
        self.ended = 0
        self.run: TrackedRun | None = None

    def send(self, run: TrackedRun) -> None:
        self.run = run
        self.sent.append(len(run.points))
        self.minutes.append(tracking.time.monotonic() / 60)
        if self._fails is not None:
            raise self._fails("it is broken")

    def end(self, run: TrackedRun, directory: RunDirectory) -> None:
        self.send(run)
        self.ended += 1


def told(run: Tracked, *trackers: Listed, first: Sequence[Observer] = ()) -> None:
    """Have a run tell these trackers in place of its own."""

    def made(directory: RunDirectory | None = None) -> Tracking:
        return Tracking(
            directory or RunDirectory.open(run.path),
            {},
            trackers,
            warn=run.warned.append,
            to_resume="again",
        )

    run.tracking = made  # type: ignore[method-assign]
    assert run.go(*first) is not None


@pytest.mark.usefixtures("at_once")
def test_each_epoch_is_told_and_one_tracker_is_nothing_to_the_other(tmp_path: Path) -> None:
    run = Tracked(tmp_path / "run", [])
    good, bad = Listed(), Listed(RuntimeError)
    told(run, bad, good)
    # The begin, 5 epochs, 3 trials, and the end: each time there is something new.
    assert len(good.sent) == len(set(good.sent)) == 10
    assert good.ended == 1
    assert len(bad.sent) == 10
    assert [warning.split(":")[0] for warning in run.warned] == [
        "a list",
        "a list lacks some of the run",
    ]


def test_one_that_takes_long_is_told_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_SHARE", 1e-9)
    tracker = Listed()
    told(Tracked(tmp_path / "run", []), tracker)
    assert len(tracker.sent) == 2
    assert tracker.ended == 1


def test_one_that_fails_is_asked_more_and_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        """Of a run whose epochs take a minute each."""

        now = 0.0

        def notify(self, event: Event) -> None:
            self.now += 60 * isinstance(event, EpochFinished)

    clock, tracker = Clock(), Listed(RuntimeError)
    monkeypatch.setattr(
        tracking, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time)
    )
    run = Tracked(tmp_path / "run", [])
    run.params = replace(run.params, patience_epochs=10, stop_trial_when_within_budget=False)
    told(run, tracker, first=[clock])
    *asked, _ = tracker.minutes  # the last is the run's end
    assert asked == [0, 1, 2, 4, 8, 16]


def test_numbers_that_are_none_are_shown_as_such(tmp_path: Path) -> None:
    def metric(rate: float, age: int) -> float:
        return math.nan if rate > 0.55 else 1.0

    run, tracker = Tracked(tmp_path / "run", [], metric), Listed()
    told(run, tracker)
    assert run.warned == []
    assert tracker.run is not None
    values = [point.value for (name, _), point in tracker.run.points.items() if "metric" in name]
    assert any(map(math.isnan, values))


def test_what_is_trained_before_the_first_trial_is_no_epoch() -> None:
    run = TrackedRun("run", {})
    run.take(LearningRateKnown(0.1), 1.0)
    assert (run.points, run.trials) == ({}, {})


def test_a_journal_that_cant_be_read_ends_the_tracking_alone(tmp_path: Path) -> None:
    run = Tracked(tmp_path / "run", [])
    run.go()
    (run.path / "events.jsonl").write_text('{"event": "search_started"}\n')
    tracker = Listed()
    one = Tracking(
        RunDirectory.open(run.path), {}, [tracker], warn=run.warned.append, to_resume="again"
    )
    one.send_ended()
    (warning,) = run.warned
    assert warning.startswith("the run is tracked no further: the journal can't be read")
    assert tracker.sent == []


def test_trials_side_by_side_have_their_own_curves(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run")
    result = side_by_side(directory)
    known = TrackedRun("run", SIDE_BY_SIDE)
    for when, event in events(read_journal(directory.events)):
        known.take(event, when)
    assert len(known.trials) == len(result.trials) > 3
    for trial in result.trials:
        points = known.trials[trial.number].points
        losses = {step: point.value for (name, step), point in points.items() if "loss" in name}
        assert losses == {epoch.number: epoch.loss for epoch in trial.epochs}
    # Of the whole run there is a number a trial, and none an epoch: those have the same numbers.
    assert {name.split("/")[0] for name, _ in known.points} == {"search"}
    rates = {
        step: point.value
        for (name, step), point in known.points.items()
        if name == "search/compression_rate"
    }
    assert rates == {trial.number: trial.compression_rate for trial in result.trials}
