"""The rules of the ramp: which rates, from where, with which learning rate, and until when."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from accaware.search import AdaptiveParams, StopReason, Trial, TrialPhase
from accaware.search.events import SearchStarted
from accaware.search.strategies.learning_curve import can_still_pass
from accaware.search.strategies.learning_rate import FactorTried, best_factor, next_factor
from tests.runners.fake import Search, adaptive, holds_up_to, search


def ramp(**changes: Any) -> AdaptiveParams:
    return adaptive(strategy="ramp", initial_training_phase_epochs=0, patience_epochs=5, **changes)


def phases(run: Search, phase: TrialPhase) -> list[Trial]:
    return [trial for trial in run.result.trials if trial.phase is phase]


def recovers(rate: float, age: int) -> float:
    """Loses with the rate, and gains in each epoch of a trial."""
    return 1.0 - 8 * max(rate - 0.6, 0.0) ** 2 + 0.02 * min(age, 5)


def test_an_epoch_at_each_of_ever_higher_rates_until_the_metric_has_collapsed() -> None:
    run = search(lambda rate, age: 1.0 - 2.5 * rate, ramp()).run()
    steps = phases(run, TrialPhase.RAMP)
    assert [trial.target_rate for trial in steps] == [0.15, 0.2775, 0.385875, 0.477994]
    assert all(len(trial.epochs) == 1 for trial in steps)
    deficits = [run.result.budget.deficit(trial.metric or 0.0) for trial in steps]
    assert deficits[-2] > 8
    assert deficits[-3] <= 8


def test_where_nothing_was_lost_the_next_step_is_a_double_one() -> None:
    run = search(holds_up_to(1.0), ramp(maximal_compression_rate=0.7)).run()
    steps = phases(run, TrialPhase.RAMP)
    assert [trial.target_rate for trial in steps] == [0.15, 0.385875, 0.556295, 0.679423, 0.7]
    assert run.result.stop_reason is StopReason.MAXIMAL_RATE
    assert run.result.epochs == 5


def test_one_stumble_is_no_collapse() -> None:
    stumbled = []

    def metric(rate: float, age: int) -> float:
        if not stumbled and rate > 0.3:
            stumbled.append(rate)
            return -2.0
        return 1.0

    run = search(metric, ramp()).run()
    assert run.result.within_budget
    assert run.result.best is not None
    assert run.result.best.compression_rate == 0.95


def test_a_step_goes_on_from_the_one_before_within_budget_or_not() -> None:
    run = search(lambda rate, age: 1.0 - rate, ramp()).run()
    steps = phases(run, TrialPhase.RAMP)
    assert [trial.start for trial in steps] == [None, *range(len(steps) - 1)]
    assert run.result.trials[2].metric is not None
    assert not run.result.trials[2].within_budget


def test_a_step_whose_metric_is_no_number_leaves_no_weights_to_go_on_from() -> None:
    run = search(lambda rate, age: math.nan if 0.2 < rate < 0.3 else 1 - 2.5 * rate, ramp()).run()
    broken = next(trial for trial in run.result.trials if trial.metric is None)
    following = run.result.trials[broken.number + 1]
    assert following.start == broken.number - 1


def test_the_first_trial_is_at_the_highest_rate_that_looks_recoverable() -> None:
    run = search(recovers, ramp()).run()
    steps, trials = phases(run, TrialPhase.RAMP), phases(run, TrialPhase.SEARCH)
    budget = run.result.budget
    near = [trial for trial in steps if budget.deficit(trial.metric or -9.0) <= 4]
    assert trials[0].target_rate == near[-1].target_rate
    assert trials[0].start == near[-1].number


def test_trials_end_when_they_pass_or_cannot_pass_any_more() -> None:
    run = search(recovers, ramp()).run()
    trials = phases(run, TrialPhase.SEARCH)
    assert {trial.within_budget for trial in trials} == {True, False}
    for trial in trials:
        metrics = [epoch.metric or 0.0 for epoch in trial.epochs]
        admitted = [run.result.budget.admits(metric) for metric in metrics]
        assert not any(admitted[:-1])
        if not admitted[-1]:
            assert len(metrics) == 5 or "too far to be made up for" in trial.reason


def test_the_bracket_ends_narrower_than_two_minimal_steps() -> None:
    run = search(recovers, ramp(minimal_compression_rate_step=0.01)).run()
    best = run.result.best
    assert best is not None
    failed = [
        trial.target_rate
        for trial in phases(run, TrialPhase.SEARCH)
        if not trial.within_budget and trial.target_rate > best.compression_rate
    ]
    assert min(failed) - best.compression_rate < 0.02


def test_what_failed_from_poor_weights_is_tried_again_from_what_has_passed() -> None:
    """A metric that suffers from how much goes at once, and recovers with each epoch."""

    def metric(rate: float, age: int) -> float:
        before, now = (0.0, 0.0, *run.model.lineage)[-2:]
        return min(1.0 - 6 * (now - before) + 0.04 * age, 1.0)

    run = search(metric, ramp(maximal_absolute_accuracy_degradation=0.02))
    run.run()
    by_target: dict[float, list[Trial]] = {}
    for trial in phases(run, TrialPhase.SEARCH):
        by_target.setdefault(trial.target_rate, []).append(trial)
    again = [trials for trials in by_target.values() if len(trials) > 1]
    assert again
    for first, second in again:
        assert not first.within_budget
        assert second.within_budget
        assert second.start is not None
        assert run.result.trials[second.start].within_budget


def test_the_best_trial_is_polished_where_that_is_asked_for() -> None:
    plain, polished = (search(recovers, ramp(polish=polish)).run() for polish in (False, True))
    (last,) = phases(polished, TrialPhase.POLISH)
    assert not phases(plain, TrialPhase.POLISH)
    assert last is polished.result.trials[-1]
    assert last.start is not None
    start = polished.result.trials[last.start]
    assert start.target_rate == last.target_rate
    assert len(start.epochs) + len(last.epochs) <= 5
    assert polished.result.best is not None
    assert plain.result.best is not None
    assert polished.result.best.metric >= plain.result.best.metric


def test_a_higher_learning_rate_is_kept_where_it_keeps_up() -> None:
    """By the metric of one epoch, at the first rate that is beyond the limit."""

    def factors(best: float) -> list[float]:
        def metric(rate: float, age: int) -> float:
            factor = run.runner.optimizer.learning_rate if run.runner.optimizer else 1.0
            return 1.0 - rate - 0.2 * abs(math.log(factor / best))

        run = search(metric, ramp(trial_learning_rate="search", maximal_compression_rate=0.5))
        return [trial.lr_factor for trial in run.run().result.trials]

    for best in (1.0, 3.0, 9.0):
        used = factors(best)
        assert used[-1] == best
        assert len({*used}) <= 3


def test_the_factor_multiplies_and_cosine_falls_within_each_trial() -> None:
    rates: list[list[float]] = []

    def train(controller: Any, model: Any, optimizer: Any, **_: Any) -> None:
        if model.age == 1:
            rates.append([])
        rates[-1].append(optimizer.learning_rate)

    metric = lambda rate, age: 1.0 - rate + 0.04 * age  # noqa: E731
    search(metric, ramp(trial_learning_rate=3.0), train_epoch_fn=train).run()
    assert {rate for trial in rates for rate in trial} == {3.0}
    rates.clear()
    search(metric, ramp(trial_learning_rate="cosine"), train_epoch_fn=train).run()
    assert any(len(trial) > 2 for trial in rates)
    for trial in rates:
        assert trial[0] == 1.0
        assert all(after < before for before, after in pairwise(trial))
        assert trial[-1] > 0


@pytest.mark.parametrize(
    ("deficits", "asked", "best"),
    [
        ({1.0: 2.0}, 3.0, 1.0),
        ({1.0: 2.0, 3.0: 1.0}, 9.0, 3.0),
        ({1.0: 2.0, 3.0: 2.4}, 9.0, 3.0),  # a little behind after one epoch is no loss
        ({1.0: 2.0, 3.0: 4.0}, None, 1.0),
        ({1.0: 2.0, 3.0: 1.0, 9.0: 7.0}, None, 3.0),
        ({1.0: 2.0, 3.0: 1.0, 9.0: 1.0}, None, 9.0),
        ({1.0: 20.0, 3.0: math.inf}, 1 / 3, 1.0),
        ({1.0: 20.0, 3.0: math.inf, 1 / 3: 5.0}, None, 1 / 3),
        ({1.0: math.inf, 3.0: math.inf}, 1 / 3, 1.0),
    ],
)
def test_factors_of_the_learning_rate(
    deficits: dict[float, float], asked: float | None, best: float
) -> None:
    tried = [FactorTried(factor, deficit) for factor, deficit in deficits.items()]
    assert next_factor(tried) == (None if asked is None else pytest.approx(asked))
    assert best_factor(tried) == pytest.approx(best)


@pytest.mark.parametrize(
    ("margins", "left", "can"),
    [
        ([-9.0], 1, True),  # one epoch shows no pace
        ([-9.0, -8.0], 1, True),
        ([-4.0, -2.0, -1.0], 1, True),
        ([-4.0, -3.9, -3.8], 2, False),
        ([-4.0, -1.0, -3.0], 2, True),
        ([-4.0, -3.0, -2.0], 1, False),
        ([-1.0, -2.0, -3.0], 2, False),
        ([-0.1, -0.2, 0.0], 0, True),
        # One that goes up and down while it gets better, and one that only goes up and down.
        ([-4.0, -3.0, -2.0, -2.5, -1.5, -1.0, -1.2, -1.4], 8, True),
        ([-1.0, -1.2, -0.9, -1.1, -1.0, -0.9, -1.1, -1.2], 192, False),
    ],
)
def test_a_trial_is_given_up_where_its_later_half_has_gained_too_little(
    margins: list[float], left: int, can: bool
) -> None:
    assert can_still_pass(margins, left) == can


def test_what_a_search_may_cost_is_said_before() -> None:
    run = search(recovers, ramp()).run()
    (started,) = run.recorder.of(SearchStarted)
    assert run.result.epochs <= started.most_epochs < 10000
    short = search(recovers, ramp(maximal_total_epochs=7)).run()
    assert short.recorder.of(SearchStarted)[0].most_epochs == 7
    assert short.result.stop_reason is StopReason.EPOCHS_SPENT


def test_a_factor_that_passes_does_not_end_the_looking_for_a_better_one() -> None:
    """Its layout is known then, and the next factor is tried at it all the same."""
    tried: list[float] = []

    def metric(rate: float, age: int) -> float:
        tried.append(run.runner.optimizer.learning_rate)
        return 1.0 if rate < 0.3 and tried[-1] > 1 else 0.85 - rate

    run = search(metric, ramp(trial_learning_rate="search"))
    run.run()
    assert tried[:3] == [1.0, 3.0, 9.0]
