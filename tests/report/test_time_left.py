"""What a trial and a search may still take, at most."""

from __future__ import annotations

import pytest

from accaware.report.progress.time_left import AtMost, TimeLeft
from accaware.search import AccuracyBudget, Epoch, TrialPhase
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.trial import TrialRecord
from tests.runners.fake import adaptive, holds_up_to, search

BUDGET = AccuracyBudget(0.9, 0.1)


class Told:
    """A TimeLeft that is told of epochs, under a clock that stands still until it is moved."""

    def __init__(self, most_epochs: int = 100) -> None:
        self.now = 1000.0
        self._left = TimeLeft(lambda: self.now)
        self._left.notify(SearchStarted(BUDGET, 0.9, most_epochs))

    def begins(self, trial: int, rate: float, epochs: int) -> None:
        self._left.notify(TrialStarted(trial, TrialPhase.SEARCH, rate, rate, epochs, 1.0, None))

    def trains(self, trial: int, *seconds: float, rate: float, first: int = 1) -> None:
        for number, each in enumerate(seconds, first):
            self._left.notify(EpochStarted(trial, number))
            self._left.notify(EpochFinished(trial, _epoch(number, rate, each)))

    def ends(self, trial: int, rate: float, epochs: int) -> None:
        record = TrialRecord(
            number=trial, phase=TrialPhase.SEARCH, target=rate, lr_factor=1.0, rate=rate
        )
        for number in range(1, epochs + 1):
            record.add(_epoch(number, rate, 1.0), BUDGET)
        self._left.notify(TrialFinished(record.closed(BUDGET)))

    def of(self, *trials: int) -> AtMost | None:
        return self._left.of(trials)


def _epoch(number: int, rate: float, seconds: float) -> Epoch:
    return Epoch(
        number=number, compression_rate=rate, fully_compressed=True, metric=0.85, seconds=seconds
    )


def test_nothing_is_said_before_an_epoch_was_measured() -> None:
    told = Told()
    assert told.of() is None
    told.begins(0, 0.5, 5)
    assert told.of(0) is None
    # That of a validation without any training is no epoch.
    told.trains(0, 7.0, rate=0.5, first=0)
    assert told.of(0) is None


def test_an_epoch_takes_as_long_as_those_before_it() -> None:
    told = Told(most_epochs=21)
    told.begins(0, 0.5, 5)
    told.trains(0, 10.0, rate=0.5)
    assert told.of(0) == AtMost(40.0, 200.0)
    told.trains(0, 12.0, 50.0, rate=0.5, first=2)
    # One slow epoch is an exception, and of more than a few the latest count.
    assert told.of(0) == AtMost(2 * 12.0, 18 * 12.0)


def test_it_goes_down_as_the_clock_goes_on_and_stands_where_an_epoch_is_late() -> None:
    told = Told(most_epochs=21)
    told.begins(0, 0.5, 5)
    told.trains(0, 10.0, rate=0.5)
    told.now += 4
    assert told.of(0) == AtMost(36.0, 196.0)
    told.now += 400
    assert told.of(0) == AtMost(30.0, 190.0)


def test_a_first_epoch_takes_as_long_as_at_the_next_lower_rate_and_the_search_as_the_longest() -> (
    None
):
    told = Told(most_epochs=13)
    for trial, (rate, seconds) in enumerate([(0.2, 30.0), (0.6, 10.0), (0.8, 5.0)]):
        told.begins(trial, rate, 1)
        told.trains(trial, seconds, rate=rate)
        told.ends(trial, rate, 1)
    told.begins(3, 0.7, 4)
    assert told.of(3) == AtMost(40.0, 300.0)
    told.begins(4, 0.1, 4)
    assert told.of(4) == AtMost(120.0, 300.0)


def test_of_several_the_longest_counts() -> None:
    told = Told(most_epochs=50)
    told.begins(0, 0.5, 5)
    told.begins(1, 0.6, 5)
    told.trains(0, 10.0, rate=0.5)
    told.trains(1, 8.0, 8.0, rate=0.6)
    assert told.of(0, 1) == AtMost(40.0, 470.0)


def test_epochs_that_count_for_nothing_are_not_taken_off() -> None:
    told = Told(most_epochs=50)
    told.begins(0, 0.5, 5)
    told.trains(0, *[10.0] * 4, rate=0.5)
    told.ends(0, 0.5, epochs=1)
    told.begins(1, 0.5, 5)
    assert told.of(1) == AtMost(50.0, 490.0)


def test_a_trial_that_is_begun_anew_elsewhere_keeps_its_epochs() -> None:
    told = Told(most_epochs=50)
    told.begins(0, 0.5, 5)
    told.trains(0, 10.0, rate=0.5)
    told.begins(0, 0.5, 5)
    assert told.of(0) == AtMost(40.0, 490.0)


@pytest.mark.parametrize("strategy", ["ramp", "uniform_decrease"])
def test_no_search_takes_longer(strategy: str) -> None:
    """Each epoch is told to take a second: what was said to be left never falls short."""
    said: list[tuple[int, AtMost]] = []
    left, trained, current = TimeLeft(lambda: 0.0), 0, 0

    def notify(event: Event) -> None:
        nonlocal trained, current
        if isinstance(event, EpochFinished):
            epoch = event.epoch
            event = EpochFinished(event.trial, _epoch(epoch.number, epoch.compression_rate, 1.0))
            trained += 1
        left.notify(event)
        if isinstance(event, TrialStarted):
            current = event.number
        at_most = left.of([current])
        if at_most is not None:
            said.append((trained, at_most))

    class Observer:
        def notify(self, event: Event) -> None:
            notify(event)

    params = adaptive(strategy=strategy, patience_epochs=3, minimal_compression_rate_step=0.02)
    search(holds_up_to(0.62), params, observers=[Observer()]).run()
    assert trained > 5
    assert len(said) > trained
    assert all(at_most.search >= trained - before for before, at_most in said)
    assert all(at_most.search >= at_most.trial for _, at_most in said)
