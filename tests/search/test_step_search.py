"""The rules of the step search: which rates are tried, from where, and for how long."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accaware.errors import UsageError
from accaware.search import (
    AdaptiveCompressionTrainingLoop,
    AdaptiveParams,
    SearchStatus,
    StopReason,
    TrialPhase,
    TrialState,
)
from accaware.search.events import RateKnown, SearchStarted, TrialStarted
from accaware.search.schedules.schedules import Adaptive, Baseline, Exponential
from tests.runners.base import Config, Optimizer
from tests.runners.fake import adaptive, early_exit, holds_up_to, search

# Which rates ----------------------------------------------------------------------------


def test_up_by_the_step_while_within_budget_and_back_by_a_reduced_one() -> None:
    run = search(holds_up_to(0.77)).run()
    assert run.targets == [0.5, 0.6, 0.7, 0.8, 0.75, 0.775]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.75
    assert run.result.stop_reason is StopReason.STEP_BELOW_MINIMUM


def test_down_by_the_step_while_not_within_budget() -> None:
    run = search(holds_up_to(0.22)).run()
    assert run.targets == [0.5, 0.4, 0.3, 0.2, 0.25, 0.225]


def test_the_initial_phase_is_trial_zero() -> None:
    run = search(holds_up_to(0.55), adaptive(initial_training_phase_epochs=3)).run()
    first = run.result.trials[0]
    assert (first.number, first.phase, first.target_rate) == (0, TrialPhase.INITIAL, 0.5)
    assert len(first.epochs) == 3
    assert {trial.phase for trial in run.result.trials[1:]} == {TrialPhase.SEARCH}


def test_a_step_over_the_maximal_rate_is_clamped_to_it_and_the_search_ends_there() -> None:
    run = search(holds_up_to(1.0), adaptive(maximal_compression_rate=0.75)).run()
    assert run.targets == [0.5, 0.6, 0.7, 0.75]
    assert run.result.stop_reason is StopReason.MAXIMAL_RATE
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.75


def test_a_maximal_rate_out_of_budget_is_tried_once_and_the_search_goes_on_below_it() -> None:
    run = search(holds_up_to(0.73), adaptive(maximal_compression_rate=0.75)).run()
    assert run.targets == [0.5, 0.6, 0.7, 0.75, 0.725]
    assert run.result.stop_reason is StopReason.STEP_BELOW_MINIMUM


def test_a_maximal_rate_that_the_steps_meet_exactly_is_tried_once() -> None:
    run = search(holds_up_to(1.0), adaptive(maximal_compression_rate=0.7)).run()
    assert run.targets == [0.5, 0.6, 0.7]


def test_the_maximal_rate_is_lowered_to_what_the_model_can_reach() -> None:
    run = search(holds_up_to(1.0), maximal=0.6123456789).run()
    assert run.targets == [0.5, 0.6, 0.612345]
    assert run.recorder.of(SearchStarted)[0].maximal_rate == 0.612345


@pytest.mark.parametrize("reachable", [0.29, 0.57, 0.58, 0.69])
def test_a_reachable_rate_on_the_grid_is_not_rounded_below_itself(reachable: float) -> None:
    run = search(holds_up_to(1.0), start=0.2, maximal=reachable).run()
    assert run.targets[-1] == reachable


def test_a_step_below_the_minimal_rate_is_clamped_to_it() -> None:
    params = adaptive(minimal_compression_rate=0.45)
    run = search(holds_up_to(0.46), params).run()
    assert run.targets == [0.5, 0.45, 0.5, 0.475]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.45


def test_a_minimal_rate_out_of_budget_is_tried_once_and_ends_the_search() -> None:
    run = search(holds_up_to(0.4), adaptive(minimal_compression_rate=0.45)).run()
    assert run.targets == [0.5, 0.45]
    assert run.result.stop_reason is StopReason.MINIMAL_RATE


@pytest.mark.parametrize(
    ("threshold", "targets", "best"),
    [
        (0.09, [0.1, 0.05, 0.1, 0.075], 0.075),
        (0.06, [0.1, 0.05, 0.1, 0.075], 0.05),
        (0.04, [0.1, 0.05, 0.025], 0.025),
    ],
)
def test_a_start_at_a_tenth_that_just_fails_still_finds_what_lies_below(
    threshold: float, targets: list[float], best: float
) -> None:
    run = search(holds_up_to(threshold), start=0.1).run()
    assert run.targets == targets
    assert run.result.best is not None
    assert run.result.best.target_rate == best


def test_a_step_below_zero_is_clamped_and_halved_and_the_search_goes_on() -> None:
    run = search(holds_up_to(0.06), start=0.08).run()
    assert run.asked[:3] == [(0.08, True), (0.0, False), (0.05, True)]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.05


def test_rate_zero_is_within_budget_without_an_epoch() -> None:
    run = search(holds_up_to(-1.0), start=0.1).run()
    assert (0.0, False) in run.asked
    assert 0.0 not in [rate for _, rate in run.trained]
    assert run.result.stop_reason is StopReason.STEP_BELOW_MINIMUM


def test_a_rate_already_known_to_fail_costs_no_epoch() -> None:
    run = search(holds_up_to(0.58)).run()
    assert run.targets == [0.5, 0.6, 0.55, 0.575]
    assert run.asked[-2:] == [(0.575, True), (0.6, False)]


def test_a_rate_already_known_to_pass_costs_no_epoch() -> None:
    run = search(holds_up_to(0.51)).run()
    assert run.targets == [0.5, 0.6, 0.55, 0.525]
    assert run.asked[-2:] == [(0.5, False), (0.525, True)]


def test_a_rate_above_a_failed_one_is_known_to_fail() -> None:
    params = without_initial_phase(initial_compression_rate_step=0.2)
    run = search(holds_up_to(0.06), params).run()
    assert run.asked[3:5] == [(0.05, True), (0.1, False)]
    assert run.recorder.of(RateKnown)[1].trial == 1
    run = search(holds_up_to(0.58)).run()
    assert run.recorder.of(RateKnown)[-1] == RateKnown(0.6, 0.6, 1)


def test_a_failed_initial_phase_is_no_bound() -> None:
    """Its schedule may be to blame: what holds in a trial is found above it, too."""

    passes = {0.5: False}

    def metric(rate: float, age: int) -> float:
        held = passes.get(rate, rate <= 0.77)
        passes.pop(rate, None)
        return 1.0 if held else 0.0

    run = search(metric).run()
    assert run.asked[:4] == [(0.5, True), (0.4, True), (0.45, True), (0.5, True)]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.75


def test_a_minimal_rate_that_only_the_initial_phase_failed_at_is_tried() -> None:
    params = adaptive(minimal_compression_rate=0.5, patience_epochs=2)
    run = search(lambda rate, age: 0.0 if age < 2 else 1.0 - (rate > 0.5), params).run()
    assert run.targets[:2] == [0.5, 0.5]
    assert run.result.within_budget


def test_a_rate_below_a_passed_one_is_known_to_pass() -> None:
    # 0.7 fails and 0.63 too: the next step down leads below 0.6, which passed.
    params = adaptive(compression_rate_step_reduction_factor=0.7)
    run = search(holds_up_to(0.62), params).run()
    assert run.asked[:5] == [(0.5, True), (0.6, True), (0.7, True), (0.63, True), (0.56, False)]
    assert run.recorder.of(RateKnown)[0].trial == 1


def test_a_step_below_the_minimum_is_not_trained() -> None:
    params = adaptive(minimal_compression_rate_step=0.05)
    run = search(holds_up_to(0.58), params).run()
    assert run.targets == [0.5, 0.6, 0.55]
    assert run.result.epochs == 3


def test_a_first_step_below_the_minimum_leaves_the_initial_phase_alone() -> None:
    params = adaptive(initial_compression_rate_step=0.02)
    run = search(holds_up_to(1.0), params).run()
    assert run.targets == [0.5]


def test_a_step_of_exactly_the_minimum_is_trained() -> None:
    params = adaptive(minimal_compression_rate_step=0.1)
    assert search(holds_up_to(0.55), params).run().targets == [0.5, 0.6]


def test_rates_are_on_a_decimal_grid() -> None:
    run = search(holds_up_to(0.45), start=0.1).run()
    assert run.targets == [0.1, 0.2, 0.3, 0.4, 0.5, 0.45, 0.475]


@pytest.mark.parametrize("factor", [0.3, 1 / 3, 0.37])
def test_rates_stay_on_the_grid_whatever_the_factor(factor: float) -> None:
    params = adaptive(
        compression_rate_step_reduction_factor=factor, minimal_compression_rate_step=1e-5
    )
    run = search(holds_up_to(0.541234), params, start=1 / 3).run()
    assert len(run.targets) > 4
    assert all(rate == round(rate, 6) for rate in run.targets)


def test_a_search_with_no_lower_limit_on_its_step_ends_with_the_grid() -> None:
    params = adaptive(minimal_compression_rate_step=1e-12)
    run = search(holds_up_to(0.541234), params).run()
    assert run.result.stop_reason is StopReason.STEP_BELOW_MINIMUM
    assert run.result.best is not None
    assert run.result.best.target_rate == pytest.approx(0.541234, abs=3e-6)


def test_two_targets_with_one_layout_are_one_trial() -> None:
    run = search(holds_up_to(0.77), layout=lambda rate: int(rate * 10 + 1e-9) / 10).run()
    achieved = [trial.compression_rate for trial in run.result.trials]
    assert achieved == [0.5, 0.6, 0.7, 0.8]
    assert run.asked[4:] == [(0.75, False), (0.775, False), (0.8, False)]
    assert [known.trial for known in run.recorder.of(RateKnown)] == [2, 2, 3]


def test_a_target_that_removes_nothing_is_rate_zero() -> None:
    run = search(holds_up_to(0.05), start=0.1, layout=lambda rate: int(rate * 10 + 1e-9) / 10)
    run.run()
    assert run.targets == [0.1, 0.1]
    assert run.recorder.of(RateKnown)[-1] == RateKnown(0.075, 0.0, None)


def test_the_achieved_rate_is_told_beside_the_asked_one() -> None:
    run = search(holds_up_to(0.6), layout=lambda rate: rate * 0.9).run()
    for trial in run.result.trials:
        assert trial.compression_rate == pytest.approx(trial.target_rate * 0.9)
        assert {epoch.compression_rate for epoch in trial.epochs} == {trial.compression_rate}
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.65
    assert run.result.best.compression_rate == pytest.approx(0.585)
    assert run.loop.statistics.compression_rate == run.controller.compression_rate


# From where, and how --------------------------------------------------------------------


def test_a_trial_starts_from_the_highest_rate_within_budget_below_its_own() -> None:
    run = search(holds_up_to(0.77)).run()
    starts = [(event.target_rate, event.start) for event in run.recorder.of(TrialStarted)]
    assert starts == [(0.5, None), (0.6, 0), (0.7, 1), (0.8, 2), (0.75, 2), (0.775, 4)]


def test_the_weights_that_a_trial_starts_from_are_those_of_that_trial() -> None:
    lineages: list[tuple[float, ...]] = []

    def train(controller: object, model: object, **_: object) -> None:
        lineages.append(model.lineage)  # type: ignore[attr-defined]

    search(holds_up_to(0.77), train_epoch_fn=train).run()
    assert lineages[-2:] == [(0.5, 0.6, 0.7, 0.75), (0.5, 0.6, 0.7, 0.75, 0.775)]


def test_a_trial_starts_below_its_own_rate_even_where_a_higher_one_failed() -> None:
    run = search(holds_up_to(0.35), start=0.3).run()
    starts = {event.target_rate: event.start for event in run.recorder.of(TrialStarted)}
    assert starts == {0.3: None, 0.4: 0, 0.35: 0, 0.375: 2}


def test_as_long_as_nothing_has_passed_the_best_effort_is_gone_on_with() -> None:
    """Its epochs aren't lost."""
    run = search(lambda rate, age: 1.0 - max(rate - 0.25, 0.0)).run()
    starts = [(event.target_rate, event.start) for event in run.recorder.of(TrialStarted)]
    assert starts[:3] == [(0.5, None), (0.4, 0), (0.3, 1)]
    assert run.model.lineage[:3] == (0.5, 0.4, 0.3)


def test_what_counts_below_a_target_is_the_achieved_rate() -> None:
    achieved = {0.6: 0.72, 0.7: 0.74}  # 0.6 overshoots 0.7
    run = search(holds_up_to(0.75), layout=lambda rate: achieved.get(rate, rate)).run()
    starts = {event.target_rate: event.start for event in run.recorder.of(TrialStarted)}
    assert starts[0.7] == 0
    assert starts[0.8] == 2


def test_each_trial_has_a_fresh_optimizer() -> None:
    made: list[Optimizer] = []
    used: list[object] = []

    def configure() -> Optimizer:
        made.append(Optimizer(1.0))
        return made[-1]

    def train(controller: object, model: object, *, optimizer: object, **_: object) -> None:
        used.append(optimizer)

    run = search(
        holds_up_to(0.77),
        adaptive(patience_epochs=2),
        configure_optimizers_fn=configure,
        train_epoch_fn=train,
    ).run()
    assert len(made) == len(run.result.trials)
    assert [made.index(optimizer) for optimizer in used] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_learning_rate_is_reduced_whenever_the_step_is() -> None:
    params = adaptive(lr_reduction_factor=0.1, minimal_compression_rate_step=0.01)
    run = search(holds_up_to(0.77), params).run()
    factors = {trial.target_rate: trial.lr_factor for trial in run.result.trials}
    assert factors[0.5] == factors[0.6] == factors[0.8] == 1
    assert factors[0.75] == pytest.approx(0.1)
    assert factors[0.775] == pytest.approx(0.01)
    assert factors[0.7625] == pytest.approx(0.001)
    started = [call[1] for call in run.runner.calls if call[0] == "start"]
    assert started == [trial.lr_factor for trial in run.result.trials]


def test_a_trial_has_patience_epochs() -> None:
    run = search(holds_up_to(0.55), adaptive(patience_epochs=4)).run()
    assert [len(trial.epochs) for trial in run.result.trials] == [1, 4, 4, 4]


def test_a_trial_may_end_at_its_first_epoch_within_budget() -> None:
    params = adaptive(
        initial_training_phase_epochs=5, patience_epochs=5, stop_trial_when_within_budget=True
    )
    run = search(lambda rate, age: 1.0 if rate <= 0.65 and age >= 2 else 0.0, params).run()
    lengths = {trial.target_rate: len(trial.epochs) for trial in run.result.trials}
    assert lengths == {0.5: 2, 0.6: 2, 0.7: 5, 0.65: 2, 0.675: 5}


def test_a_trial_goes_on_within_budget_unless_told_to_stop() -> None:
    run = search(holds_up_to(0.55), adaptive(patience_epochs=3)).run()
    assert {len(trial.epochs) for trial in run.result.trials[1:]} == {3}


def test_metric_and_weights_are_those_of_the_best_epoch() -> None:
    script = {1: 0.2, 2: 0.95, 3: 0.93}

    def metric(rate: float, age: int) -> float:
        return script.get(age, 0.0) if rate <= 0.5 else 0.0

    run = search(metric, adaptive(initial_training_phase_epochs=3)).run()
    trial = run.result.trials[0]
    assert (trial.metric, trial.best_epoch) == (0.95, 2)
    assert run.model.age == 2
    assert run.result.best is not None
    assert (run.result.best.metric, run.result.best.epoch) == (0.95, 2)


def test_of_equal_metrics_the_earlier_epoch_is_kept() -> None:
    run = search(holds_up_to(0.55), adaptive(initial_training_phase_epochs=3)).run()
    assert run.result.trials[0].best_epoch == 1


def test_the_learning_rate_function_gets_the_current_metric_not_the_best() -> None:
    seen: list[tuple[int, float, float]] = []
    script = {1: 0.8, 2: 0.95, 3: 0.7}
    search(
        lambda rate, age: script[age],
        adaptive(initial_training_phase_epochs=3, maximal_total_epochs=3),
        loss=lambda rate, age: 1 / age,
        update_learning_rate_fn=lambda scheduler, epoch, metric, loss: seen.append(
            (epoch, metric, loss)
        ),
    ).run()
    assert seen == [(0, 0.8, 1.0), (1, 0.95, 1 / 2), (2, 0.7, 1 / 3)]


# How long -------------------------------------------------------------------------------


def test_the_initial_phase_counts_in_the_total_of_epochs() -> None:
    params = adaptive(initial_training_phase_epochs=3, patience_epochs=2, maximal_total_epochs=6)
    run = search(holds_up_to(1.0), params).run()
    assert run.result.epochs == len(run.trained) == 6
    assert [len(trial.epochs) for trial in run.result.trials] == [3, 2, 1]
    assert run.result.stop_reason is StopReason.EPOCHS_SPENT
    assert [event.epochs for event in run.recorder.of(TrialStarted)] == [3, 2, 1]


def test_the_initial_phase_itself_is_cut_to_the_total_of_epochs() -> None:
    params = adaptive(initial_training_phase_epochs=9, maximal_total_epochs=4)
    run = search(holds_up_to(1.0), params).run()
    assert run.result.epochs == len(run.trained) == 4
    assert run.result.within_budget


def test_the_total_may_be_met_exactly_without_a_further_trial() -> None:
    run = search(holds_up_to(1.0), adaptive(maximal_total_epochs=1)).run()
    assert run.targets == [0.5]


def test_validation_every_n_epochs_and_always_at_the_last_of_a_phase_or_trial() -> None:
    params = adaptive(
        initial_training_phase_epochs=5,
        patience_epochs=3,
        validate_every_n_epochs=2,
        maximal_total_epochs=9,
    )
    run = search(holds_up_to(0.6), params).run()
    validated = [
        [epoch.metric is not None for epoch in trial.epochs] for trial in run.result.trials
    ]
    assert validated == [
        [False, True, False, True, True],
        [False, True, True],
        [True],
    ]
    assert run.validated[:-1] == [1, 3, 4, 6, 7, 8]


def test_validation_rarer_than_a_trial_is_long_still_happens_at_its_end() -> None:
    params = adaptive(patience_epochs=3, validate_every_n_epochs=10)
    run = search(holds_up_to(0.55), params).run()
    assert all(trial.epochs[-1].metric is not None for trial in run.result.trials)


def test_early_stopping_ends_the_search_after_the_epoch_at_hand() -> None:
    asked: list[float] = []

    def stop(metric: float) -> bool:
        asked.append(metric)
        return len(asked) == 4

    run = search(holds_up_to(0.65), adaptive(patience_epochs=3), early_stopping_fn=stop).run()
    assert run.result.epochs == 4
    assert run.result.stop_reason is StopReason.STOPPED_BY_USER_FUNCTION
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.6


def test_early_stopping_works_in_the_initial_phase_too() -> None:
    params = adaptive(initial_training_phase_epochs=5)
    run = search(holds_up_to(1.0), params, early_stopping_fn=lambda metric: True).run()
    assert run.result.epochs == 1
    assert run.result.stop_reason is StopReason.STOPPED_BY_USER_FUNCTION
    assert run.result.within_budget


# Without an initial phase ---------------------------------------------------------------


def without_initial_phase(**params: Any) -> AdaptiveParams:
    return adaptive(initial_training_phase_epochs=0, **params)


def test_without_an_initial_phase_the_search_begins_with_its_first_step() -> None:
    run = search(holds_up_to(0.22), without_initial_phase(patience_epochs=2)).run()
    assert run.targets == [0.1, 0.2, 0.3, 0.25, 0.225]
    assert run.result.trials[0].phase is TrialPhase.SEARCH
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.2
    assert run.controller.asked == run.targets  # the schedule's level isn't put on the model
    assert [event.target_rate for event in run.recorder.of(RateKnown)] == [0.2]


def test_its_first_step_begins_at_the_baseline_model_and_turns_where_it_fails() -> None:
    run = search(holds_up_to(0.06), without_initial_phase()).run()
    assert run.targets == [0.1, 0.05, 0.075]
    assert [event.start for event in run.recorder.of(TrialStarted)] == [None, 0, 1]
    assert [event.lr_factor for event in run.recorder.of(TrialStarted)] == [1.0, 0.5, 0.25]


def test_its_first_step_is_kept_within_the_bounds() -> None:
    lowest = search(holds_up_to(1), without_initial_phase(minimal_compression_rate=0.4)).run()
    assert lowest.targets[:2] == [0.4, 0.5]
    highest = search(holds_up_to(1), without_initial_phase(maximal_compression_rate=0.05)).run()
    assert highest.targets == [0.05]
    assert highest.result.stop_reason is StopReason.MAXIMAL_RATE


def test_its_epochs_are_the_trials_alone() -> None:
    run = search(holds_up_to(1), without_initial_phase(maximal_total_epochs=1)).run()
    assert run.targets == [0.1]
    assert run.result.stop_reason is StopReason.EPOCHS_SPENT


def test_an_initial_phase_that_failed_says_nothing_of_its_rate() -> None:
    def loss(rate: float, age: int) -> float:
        started.append(rate)
        return math.nan if len(started) == 1 else 0.5

    started: list[float] = []
    run = search(holds_up_to(0.62), loss=loss).run()
    assert run.result.trials[0].state is TrialState.FAILED
    assert run.targets == [0.5, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.625]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.6


# The initial phase's schedule -----------------------------------------------------------


def test_the_initial_phases_metric_is_the_best_one_seen_while_fully_compressed() -> None:
    run = search(
        lambda rate, age: 1 - rate / 5 - (0.01 if age == 5 else 0.0),
        adaptive(initial_training_phase_epochs=5),
        schedule=Exponential(init=0.0, target=0.5, duration=3),
    ).run()
    trial = run.result.trials[0]
    assert [epoch.fully_compressed for epoch in trial.epochs] == [False] * 3 + [True] * 2
    assert trial.epochs[0].metric == 1.0
    assert (trial.metric, trial.best_epoch, trial.compression_rate) == (0.9, 4, 0.5)


def test_early_stopping_is_not_asked_before_full_compression() -> None:
    asked: list[float] = []
    search(
        lambda rate, age: 1 - rate,
        adaptive(initial_training_phase_epochs=3, maximal_total_epochs=3),
        schedule=Baseline(0.5, delay=2),
        early_stopping_fn=lambda metric: bool(asked.append(metric)),
    ).run()
    assert asked == [0.5]


def test_a_schedule_that_never_arrives_fails_the_phase_and_says_so() -> None:
    run = search(
        holds_up_to(0.45),
        adaptive(initial_training_phase_epochs=2),
        schedule=Exponential(init=0.0, target=0.5, duration=5),
    ).run()
    first = run.result.trials[0]
    assert first.state is TrialState.FAILED
    assert first.metric is None
    assert first.reason == "the schedule did not reach its target 0.5 in 2 epochs"
    assert run.result.within_budget


def test_a_target_that_the_schedule_never_reached_is_not_known_to_fail() -> None:
    run = search(
        holds_up_to(0.55),
        adaptive(initial_training_phase_epochs=2),
        schedule=Baseline(0.5, delay=2),
    ).run()
    assert run.targets[:4] == [0.5, 0.4, 0.45, 0.5]
    assert run.result.best is not None
    assert run.result.best.target_rate >= 0.5


def test_a_rate_passed_by_a_schedule_on_its_way_is_not_known() -> None:
    run = search(
        holds_up_to(0.3),
        adaptive(initial_training_phase_epochs=1),
        schedule=Exponential(init=0.3, target=0.5, duration=5),
    ).run()
    assert run.result.trials[0].compression_rate == 0.3
    assert run.targets[:3] == [0.5, 0.4, 0.3]


def test_the_adaptive_schedule_rises_while_the_metric_holds() -> None:
    run = search(
        holds_up_to(0.15),
        adaptive(initial_training_phase_epochs=6),
        schedule=Adaptive(init=0.0, target=0.5),
    ).run()
    rates = [epoch.compression_rate for epoch in run.result.trials[0].epochs]
    assert rates == [0.0, 0.05, 0.1, 0.15, 0.2, 0.2]


def test_after_the_initial_phase_the_schedule_has_no_say() -> None:
    def train(controller: object, model: object, **_: object) -> None:
        controller.scheduler.step()  # type: ignore[attr-defined]
        if model.lineage[-1] == 0.4:  # type: ignore[attr-defined]
            controller.scheduler.epoch_step()  # type: ignore[attr-defined]

    run = search(
        holds_up_to(0.75),
        adaptive(maximal_total_epochs=4),
        schedule=Exponential(init=0.1, target=0.5, duration=5),
        train_epoch_fn=train,
    ).run()
    assert run.targets[1] == 0.4
    for trial in run.result.trials[1:]:
        assert {epoch.compression_rate for epoch in trial.epochs} == {trial.target_rate}


def test_a_trial_does_not_end_within_budget_before_full_compression() -> None:
    run = search(
        holds_up_to(1.0),
        adaptive(
            initial_training_phase_epochs=5,
            stop_trial_when_within_budget=True,
            maximal_total_epochs=5,
        ),
        schedule=Baseline(0.5, delay=2),
    ).run()
    assert len(run.result.trials[0].epochs) == 3
    assert run.result.trials[0].within_budget


# What the parameters may be -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patience_epochs", 0),
        ("initial_training_phase_epochs", -1),
        ("validate_every_n_epochs", 0),
        ("maximal_total_epochs", 0),
        ("minimal_compression_rate_step", 0.0),
        ("initial_compression_rate_step", -0.1),
        ("compression_rate_step_reduction_factor", 1.0),
        ("compression_rate_step_reduction_factor", 0.0),
        ("lr_reduction_factor", 0.0),
        ("minimal_compression_rate", 0.96),
        ("maximal_compression_rate", 1.1),
        ("maximal_compression_rate", float("nan")),
    ],
)
def test_a_number_that_would_keep_the_search_from_ending_is_refused(
    name: str, value: float
) -> None:
    with pytest.raises(UsageError, match=name):
        search(holds_up_to(1.0), adaptive(**{name: value}))


def test_what_the_strategy_needs_is_refused_where_it_is_missing() -> None:
    params: dict[str, Any] = {"initial_training_phase_epochs": None}
    with pytest.raises(UsageError, match="initial_training_phase_epochs"):
        search(holds_up_to(1.0), adaptive(**params))
    search(holds_up_to(1.0), adaptive(**params, strategy="ramp"))


@pytest.mark.parametrize("initial", [0, 2])
@pytest.mark.parametrize("best", [1 / 3, 1.0, 3.0, 9.0])
def test_a_learning_rate_that_is_looked_for_trains_what_comes_after(
    best: float, initial: int
) -> None:
    """Looked for at the first rate that a trial is at, from what that starts from."""

    def metric(rate: float, age: int) -> float:
        factor = run.runner.optimizer.learning_rate if run.runner.optimizer else 1.0
        return 1.0 - 0.2 * rate - (0.8 if best < 1 else 0.1) * abs(math.log(factor / best))

    run = search(
        metric,
        adaptive(
            trial_learning_rate="search",
            initial_training_phase_epochs=initial,
            maximal_absolute_accuracy_degradation=0.06,
            initial_compression_rate_step=0.4,
            patience_epochs=2,
            lr_reduction_factor=1.0,
        ),
    )
    run.run()
    trials = run.result.trials
    looked = [trial for trial in trials if trial.phase is TrialPhase.LEARNING_RATE]
    searched = [trial for trial in trials if trial.phase is TrialPhase.SEARCH]
    assert (1 if best == 1 else 2) <= len(looked) <= 3
    assert len({(trial.target_rate, trial.start) for trial in looked}) == 1
    assert {len(trial.epochs) for trial in looked} == {1}
    assert searched
    assert {trial.lr_factor for trial in searched} == {best}
    assert run.result.epochs <= run.recorder.of(SearchStarted)[0].most_epochs


def test_where_the_configured_learning_rate_suffices_none_is_looked_for() -> None:
    run = search(holds_up_to(1.0), adaptive(trial_learning_rate="search", patience_epochs=3)).run()
    looked = [trial for trial in run.result.trials if trial.phase is TrialPhase.LEARNING_RATE]
    assert [len(trial.epochs) for trial in looked] == [1]
    assert {trial.lr_factor for trial in run.result.trials} == {1.0}


def test_all_bad_numbers_are_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"patience_epochs.*lr_reduction_factor"):
        search(holds_up_to(1.0), adaptive(patience_epochs=0, lr_reduction_factor=0))


def test_the_mode_has_to_fit_the_loop() -> None:
    controller = search(holds_up_to(1.0)).controller
    with pytest.raises(UsageError, match="early_exit"):
        AdaptiveCompressionTrainingLoop(Config(early_exit()), controller, 1.0)


def test_there_is_no_result_before_the_run() -> None:
    with pytest.raises(UsageError, match="run"):
        _ = search(holds_up_to(1.0)).result


def test_the_status_is_within_budget_where_a_trial_is() -> None:
    assert search(holds_up_to(0.6)).run().result.status is SearchStatus.WITHIN_BUDGET
