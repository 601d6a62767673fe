"""Several rates at a time: what is proposed, what is left, and that the order of events is none."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.errors import UsageError
from accaware.search import SearchResult, TrialPhase, TrialState
from accaware.search.events import EpochFinished, RoundFinished, SearchStarted, TrialStarted
from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.params import AdaptiveParams
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.in_process import InProcessExecutor
from tests.runners.base import Config
from tests.runners.benches import FakeBench, MixedUpExecutor, Training, several
from tests.runners.fake import Recorder, holds_up_to, search
from tests.search.test_properties import hundredths, layouts, worlds


class Ended:
    """A search with trials side by side, and what was told of it."""

    def __init__(
        self, training: Training, params: AdaptiveParams, chance: random.Random | None = None
    ) -> None:
        self.bench = FakeBench(training)
        self.recorder = Recorder()
        executor: TrialExecutor = InProcessExecutor(self.bench, lambda: 0.0)
        if chance is not None:
            deaths = chance.randint(0, 2)
            executor = MixedUpExecutor(training, chance, self.bench.runner.saved, deaths)
        self.loop = create_accuracy_aware_training_loop(
            Config(params),
            self.bench.controller,
            1.0,
            observers=[self.recorder],
            executor=executor,
        )
        self.result: SearchResult = self.loop.drive(self.bench.runner)

    @property
    def rounds(self) -> list[list[float]]:
        """The rates of each, of those that are no step of the ramp."""
        trials = self.result.trials
        rounds = [event.trials for event in self.recorder.of(RoundFinished)]
        return [
            [trials[number].target_rate for number in numbers]
            for numbers in rounds
            if trials[numbers[0]].phase is TrialPhase.SEARCH
        ]


def test_the_bracket_is_cut_into_one_part_more_than_there_are_trials() -> None:
    ended = Ended(Training(holds_up_to(0.62)), several(3, minimal_compression_rate_step=0.002))
    failed = [
        trial.target_rate
        for trial in ended.result.trials
        if trial.phase is TrialPhase.SEARCH and not trial.within_budget
    ]
    assert failed
    low, high = 0.0, 1.0
    for numbers in (event.trials for event in ended.recorder.of(RoundFinished)):
        trials = [ended.result.trials[number] for number in numbers]
        rates = [trial.target_rate for trial in trials]
        if len(rates) == 3 and high < 1:
            edges = [low, *rates, high]
            shares = [(1 - after) / (1 - before) for before, after in pairwise(edges)]
            assert max(shares) - min(shares) < 1e-4
        low = max([low, *(trial.target_rate for trial in trials if trial.within_budget)])
        judged = [trial.target_rate for trial in trials if trial.phase is TrialPhase.SEARCH]
        high = min([high, *(rate for rate in judged if rate > 0.62)])
    assert high - low < 2 * 0.002


def test_the_first_round_is_around_the_rate_that_looks_recoverable() -> None:
    def metric(rate: float, age: int) -> float:
        return 1.0 - 2 * max(rate - 0.5, 0.0) + 0.02 * min(age, 5)

    one = search(metric, replace(several(1), parallel_trials=1)).run()
    guess = next(
        trial.target_rate for trial in one.result.trials if trial.phase is TrialPhase.SEARCH
    )
    for count, below in ((2, 1), (3, 1), (4, 2)):
        rates = Ended(Training(metric), several(count)).rounds[0]
        assert len(rates) == count
        assert rates == sorted(rates)
        assert rates.index(guess) == below


def test_trials_below_one_that_passed_are_left_where_they_are() -> None:
    def metric(rate: float, age: int) -> float:
        return 1.0 if rate > 0.3 and age > 1 else 0.8

    ended = Ended(Training(metric), several(2, maximal_compression_rate=0.5))
    left = [trial for trial in ended.result.trials if trial.cancelled]
    assert left
    for trial in left:
        assert trial.reason == "a higher rate passed"
        assert len(trial.epochs) == 2
        assert trial.checkpoint is None
        higher = ended.result.trials[trial.number + 1]
        assert higher.within_budget
        assert len(higher.epochs) == 2


def test_trials_above_one_that_failed_are_left_where_they_are() -> None:
    def metric(rate: float, age: int) -> float:
        if rate < 0.2:
            return 1.0
        return 0.75 if rate < 0.35 else 0.6 + 0.06 * age

    ended = Ended(Training(metric), several(2, maximal_compression_rate=0.5))
    left = [trial for trial in ended.result.trials if trial.cancelled]
    assert left
    for trial in left:
        assert trial.reason == "a lower rate failed"
        assert not ended.result.trials[trial.number - 1].within_budget
    assert all(trial.state is TrialState.CANCELLED for trial in left)


def test_two_targets_of_one_layout_are_trained_once() -> None:
    training = Training(holds_up_to(0.6), layout=lambda rate: math.floor(rate * 4) / 4)
    ended = Ended(training, several(3, minimal_compression_rate_step=0.01))
    for numbers in (event.trials for event in ended.recorder.of(RoundFinished)):
        trials = [ended.result.trials[number] for number in numbers]
        trained = [trial.compression_rate for trial in trials if trial.epochs]
        assert len(set(trained)) == len(trained)
    reasons = {trial.reason for trial in ended.result.trials if trial.cancelled}
    assert any("has the same rate" in reason or "is known" in reason for reason in reasons)
    assert ended.result.best is not None
    assert ended.result.best.compression_rate == 0.5


def test_epochs_side_by_side_have_the_same_numbers_and_all_of_them_count() -> None:
    ended = Ended(Training(lambda rate, age: 1.0 - rate + 0.03 * age), several(3))
    for numbers in (event.trials for event in ended.recorder.of(RoundFinished)):
        trials = [ended.result.trials[number] for number in numbers]
        assert len({trial.epochs[0].number for trial in trials if trial.epochs}) == 1
        for trial in trials:
            counted = [epoch.number for epoch in trial.epochs]
            assert counted == list(range(counted[0], counted[0] + len(counted)))
    assert ended.result.epochs == sum(len(trial.epochs) for trial in ended.result.trials)


params = st.builds(
    several,
    st.integers(2, 5),
    maximal_absolute_accuracy_degradation=hundredths(0, 50),
    patience_epochs=st.integers(1, 5),
    minimal_compression_rate_step=hundredths(1, 8),
    validate_every_n_epochs=st.integers(1, 2),
    maximal_total_epochs=st.sampled_from([3, 11, 30, 10000]),
    maximal_compression_rate=hundredths(30, 99),
    trial_learning_rate=st.sampled_from(["as_configured", "cosine", "search"]),
    polish=st.booleans(),
)
trainings = st.builds(Training, worlds, noise=st.sampled_from([0.0, 0.1, 0.4]), layout=layouts)


@given(trainings, params, st.integers(0, 10**6))
def test_in_whatever_order_trials_end_the_result_is_the_same(
    training: Training, given_params: AdaptiveParams, seed: int
) -> None:
    one_by_one = Ended(training, given_params)
    mixed_up = Ended(training, given_params, random.Random(seed))
    # Numbers alone: a NaN has to equal a NaN.
    assert repr(mixed_up.result) == repr(one_by_one.result)
    assert one_by_one.result.epochs <= given_params.maximal_total_epochs
    most = one_by_one.recorder.of(SearchStarted)[0].most_epochs
    assert one_by_one.result.epochs <= most
    # Nothing is kept but what a later trial could need.
    kept = {trial.checkpoint for trial in one_by_one.result.trials if trial.checkpoint}
    for ended in (one_by_one, mixed_up):
        assert ended.bench.runner.saved.keys() == {"untouched"} | kept
    told = {(event.trial, event.epoch.number) for event in mixed_up.recorder.of(EpochFinished)}
    counted = {
        (trial.number, epoch.number) for trial in mixed_up.result.trials for epoch in trial.epochs
    }
    assert counted <= told


@given(hundredths(5, 95), st.integers(2, 5), hundredths(1, 6), st.integers(0, 10**6))
def test_the_rate_that_is_found_is_one_that_one_trial_at_a_time_would_have_found(
    threshold: float, count: int, step: float, seed: int
) -> None:
    """Both end in a bracket of two minimal steps around what holds."""
    given_params = several(count, minimal_compression_rate_step=step)
    ended = Ended(Training(holds_up_to(threshold)), given_params, random.Random(seed))
    one = search(holds_up_to(threshold), replace(given_params, parallel_trials=1)).run()
    for result in (ended.result, one.result):
        best = result.best.compression_rate if result.best and result.within_budget else 0.0
        assert best <= threshold
        assert threshold - best < 2 * step or best == 0.95


@pytest.mark.parametrize("count", [2, 4])
def test_more_trials_at_a_time_take_fewer_rounds(count: int) -> None:
    training = Training(lambda rate, age: 1.0 - max(rate - 0.55, 0) + 0.01 * age)
    few = Ended(training, several(count, minimal_compression_rate_step=0.005))
    many = search(training.metric, several(1, minimal_compression_rate_step=0.005)).run()
    one_by_one = [trial for trial in many.result.trials if trial.phase is TrialPhase.SEARCH]
    assert len(few.rounds) < len(one_by_one)


def test_a_trial_that_is_begun_elsewhere_is_told_again_and_counted_once() -> None:
    training = Training(lambda rate, age: 1.0 - rate / 3 + 0.02 * age)
    begun: list[list[Any]] = []
    for seed in range(8):
        mixed = Ended(training, several(2), random.Random(seed))
        begun.append([event.number for event in mixed.recorder.of(TrialStarted)])
        finished = mixed.recorder.of(EpochFinished)
        told = [(event.trial, event.epoch.number) for event in finished]
        assert len(set(told)) == len(told)
    assert any(len(set(numbers)) < len(numbers) for numbers in begun)


def test_a_loop_has_to_be_told_who_runs_its_trials() -> None:
    with pytest.raises(UsageError, match="needs somebody who runs the trials"):
        search(holds_up_to(0.5), several(2))
    with pytest.raises(UsageError, match="and above 1 with strategy ramp"):
        search(holds_up_to(0.5), replace(several(2), strategy="uniform_decrease"))
