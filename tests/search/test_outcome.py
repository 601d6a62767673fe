"""What the search hands over, and what it says when something goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accaware.search import SearchStatus, StopReason, TrialState
from accaware.search.events import EpochFinished, EpochStarted, SearchFinished, TrialFinished
from accaware.search.schedules.schedules import Exponential
from tests.runners.fake import adaptive, early_exit, holds_up_to, search

# The answer -----------------------------------------------------------------------------


def test_the_answer_is_the_highest_achieved_rate_within_budget_not_the_best_metric() -> None:
    run = search(lambda rate, age: 1 - rate / 8).run()
    best = run.result.best
    assert best is not None
    assert best.compression_rate == 0.8
    assert best.metric == 0.9


def test_the_answer_is_judged_by_achieved_rates_not_by_asked_ones() -> None:
    # From 0.5 on a higher target achieves less.
    run = search(
        holds_up_to(1.0),
        adaptive(maximal_compression_rate=0.7),
        layout=lambda rate: round(1 - rate, 6) if rate >= 0.5 else rate,
    ).run()
    assert run.result.best is not None
    assert (run.result.best.target_rate, run.result.best.compression_rate) == (0.5, 0.5)


def test_the_answer_is_loaded_and_the_controller_reports_it() -> None:
    run = search(holds_up_to(0.77)).run()
    assert run.result.trials[-1].target_rate == 0.775
    assert run.model.rate == run.controller.compression_rate == 0.75
    assert run.runner.calls[-2:] == [("load", "trial-4"), ("validate", 5, 0.75)]


def test_the_answer_is_validated_again_and_that_number_is_reported() -> None:
    metrics = iter([0.95, 0.2, 0.2, 0.2, 0.93])
    run = search(lambda rate, age: next(metrics)).run()
    assert run.result.trials[0].metric == 0.95
    assert run.result.best is not None
    assert run.result.best.metric == 0.93
    assert run.result.best.absolute_degradation == pytest.approx(0.07)
    assert run.result.best.relative_degradation == pytest.approx(7)
    assert run.loop.statistics.compressed_accuracy == 0.93


def test_where_the_second_validation_disagrees_the_next_trial_has_its_turn() -> None:
    metrics: Iterator[float] = iter([1.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.95])
    run = search(lambda rate, age: next(metrics)).run()
    assert [trial.within_budget for trial in run.result.trials][:2] == [True, True]
    assert run.result.best is not None
    assert (run.result.best.target_rate, run.result.best.metric) == (0.5, 0.95)
    assert run.controller.compression_rate == 0.5


def test_where_every_second_validation_disagrees_the_best_of_them_is_a_best_effort() -> None:
    metrics = iter([1.0, 1.0, 0.0, 0.0, 0.0, 0.6, 0.5])
    run = search(lambda rate, age: next(metrics)).run()
    assert run.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert run.result.best is not None
    assert (run.result.best.target_rate, run.result.best.metric) == (0.6, 0.6)
    assert run.controller.compression_rate == 0.6


def test_a_nan_in_the_second_validation_is_not_reported_as_a_metric() -> None:
    metrics = iter([1.0, 0.0, 0.0, 0.0, math.nan])
    run = search(lambda rate, age: next(metrics)).run()
    assert run.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert run.result.best is None
    assert run.controller.compression_rate == 0


def test_nothing_within_budget_is_a_typed_outcome_with_the_best_effort_loaded() -> None:
    run = search(lambda rate, age: 0.5 - rate / 10).run()
    result = run.result
    assert result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert not result.within_budget
    assert result.best is not None
    assert result.best.metric == max(trial.metric or 0 for trial in result.trials)
    assert run.model.rate == result.best.compression_rate
    assert result.best.absolute_degradation > 0.1
    assert run.loop.statistics.accuracy_budget is not None
    assert run.loop.statistics.accuracy_budget < 0


def test_the_best_effort_is_the_one_closest_to_the_limit_even_if_others_came_later() -> None:
    metrics = {0.5: 0.3, 0.4: 0.6, 0.3: 0.2, 0.2: 0.1}
    run = search(lambda rate, age: metrics.get(rate, 0.0)).run()
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.4
    assert run.controller.compression_rate == 0.4


def test_no_trial_judged_at_all_leaves_the_baseline_model_and_no_best() -> None:
    run = search(lambda rate, age: math.nan).run()
    assert run.result.best is None
    assert run.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert run.controller.compression_rate == 0
    assert run.model.lineage == ()
    assert run.loop.statistics.compressed_accuracy is None


def test_checkpoints_that_nobody_needs_again_are_dropped() -> None:
    run = search(holds_up_to(0.77)).run()
    assert sorted(run.runner.saved) == ["trial-2", "trial-4", "untouched"]
    kept = {trial.checkpoint for trial in run.result.trials if trial.checkpoint}
    assert kept == run.runner.saved.keys() - {"untouched"}


def test_of_trials_out_of_budget_only_the_best_effort_is_kept() -> None:
    run = search(lambda rate, age: 0.5 - rate / 10).run()
    assert len(run.runner.saved.keys() - {"untouched"}) == 1
    assert run.result.best is not None
    assert run.result.best.checkpoint in run.runner.saved


def test_checkpoints_are_named_by_trial_so_that_no_two_rates_share_one() -> None:
    run = search(holds_up_to(0.77)).run()
    saves = [call[1] for call in run.runner.calls if call[0] == "save"]
    assert len(saves) == len(set(saves)) == 1 + len(run.result.trials)


# Which direction is better --------------------------------------------------------------


def test_lower_is_better_where_the_metric_says_so() -> None:
    run = search(
        lambda rate, age: 2.0 + (0.3 if rate > 0.65 else 0.05), baseline=2.0, higher_is_better=False
    ).run()
    assert run.result.budget.minimal_tolerable == 2.1
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.65
    assert run.result.best.absolute_degradation == pytest.approx(0.05)


def test_the_best_epoch_is_the_lowest_where_lower_is_better() -> None:
    script = {1: 2.08, 2: 2.01, 3: 2.05}
    run = search(
        lambda rate, age: script[age],
        adaptive(initial_training_phase_epochs=3, maximal_total_epochs=3),
        baseline=2.0,
        higher_is_better=False,
    ).run()
    assert (run.result.trials[0].metric, run.result.trials[0].best_epoch) == (2.01, 2)


def test_a_negative_baseline_tolerates_downwards() -> None:
    params = adaptive(maximal_relative_accuracy_degradation=10)
    run = search(lambda rate, age: -100 - 15 * rate, params, baseline=-100.0).run()
    assert run.result.budget.minimal_tolerable == -110
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.65
    assert run.result.best.relative_degradation == pytest.approx(9.75)


def test_negative_metrics_have_a_best_too() -> None:
    run = search(lambda rate, age: -5.0 - rate, baseline=-1.0).run()
    assert run.result.best is not None
    assert run.result.best.metric < -5


# What goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("what", ["metric", "loss"])
def test_a_metric_or_loss_that_is_no_number_fails_the_trial_and_the_search_goes_on(
    what: str, value: float
) -> None:
    def script(rate: float, age: int) -> float:
        return value if rate == 0.6 else 1.0 if rate < 0.6 else 0.0

    steady = holds_up_to(1.0)
    scripts = {"metric": script} if what == "metric" else {"metric": steady, "loss": script}
    run = search(**scripts).run()
    failed = run.result.trials[1]
    assert failed.state is TrialState.FAILED
    assert failed.reason == f"the {what} is {value} in epoch 2"
    assert failed.metric is None
    assert run.targets == [0.5, 0.6, 0.55, 0.575]
    assert run.result.trials[2].within_budget
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.575


def test_a_failed_trial_ends_at_once_and_is_not_validated_after_a_nan_loss() -> None:
    run = search(
        holds_up_to(1.0),
        adaptive(initial_training_phase_epochs=4, patience_epochs=1),
        loss=lambda rate, age: math.nan if rate == 0.5 and age == 2 else 0.1,
    ).run()
    first = run.result.trials[0]
    assert len(first.epochs) == 2
    assert first.epochs[1].metric is None
    assert 1 not in run.validated


def test_what_was_within_budget_before_a_nan_stays_earned() -> None:
    run = search(
        lambda rate, age: (0.95 if age == 1 else math.nan) if rate <= 0.5 else 0.0,
        adaptive(initial_training_phase_epochs=3),
    ).run()
    first = run.result.trials[0]
    assert first.within_budget
    assert first.reason == "within budget, then the metric is nan in epoch 2"
    assert run.result.best is not None
    assert (run.result.best.trial, run.result.best.metric) == (0, 0.95)


def test_a_nan_in_the_initial_phase_leads_down_from_the_baseline_model() -> None:
    run = search(lambda rate, age: math.nan if rate >= 0.5 else 1.0).run()
    assert run.targets[:2] == [0.5, 0.4]
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.475


def stop_at(epoch: int, error: BaseException) -> Callable[..., None]:
    def train(controller: Any, model: Any, **arguments: Any) -> None:
        if arguments["epoch"] == epoch:
            raise error

    return train


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), StopReason.INTERRUPTED),
        (RuntimeError("out of memory"), StopReason.FAILED),
        (SystemExit(3), StopReason.FAILED),
    ],
)
def test_an_exception_goes_on_and_the_result_tells_what_was_earned(
    error: BaseException, reason: StopReason
) -> None:
    run = search(holds_up_to(1.0), train_epoch_fn=stop_at(2, error))
    with pytest.raises(type(error)) as caught:
        run.run()
    assert caught.value is error
    result = run.result
    assert result.stop_reason is reason
    assert result.status is SearchStatus.WITHIN_BUDGET
    assert result.best is not None
    assert (result.best.target_rate, result.best.metric) == (0.6, 1.0)
    assert result.best.checkpoint in run.runner.saved
    assert result.epochs == 2
    assert [trial.state for trial in result.trials] == [
        TrialState.WITHIN_BUDGET,
        TrialState.WITHIN_BUDGET,
        TrialState.FAILED,
    ]
    assert result.trials[2].reason == reason.value
    assert not run.recorder.of(SearchFinished)


def test_an_interrupted_trial_that_was_within_budget_counts() -> None:
    run = search(
        holds_up_to(1.0),
        adaptive(initial_training_phase_epochs=5),
        train_epoch_fn=stop_at(3, KeyboardInterrupt()),
    )
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.result.best is not None
    assert run.result.best.epoch == 1
    assert len(run.result.trials[0].epochs) == run.result.epochs == 3


def test_an_exception_in_the_first_epoch_leaves_a_result_without_a_best() -> None:
    run = search(holds_up_to(1.0), train_epoch_fn=stop_at(0, ValueError("bad data")))
    with pytest.raises(ValueError, match="bad data"):
        run.run()
    assert run.result.best is None
    assert run.result.epochs == 0
    assert run.result.status is SearchStatus.NOT_WITHIN_BUDGET


def test_an_exception_in_the_last_validation_leaves_the_trials_number() -> None:
    metrics = iter([1.0, 0.0, 0.0, 0.0])

    def metric(rate: float, age: int) -> float:
        found = next(metrics, None)
        if found is None:
            raise RuntimeError("the data is gone")
        return found

    run = search(metric)
    with pytest.raises(RuntimeError, match="the data is gone"):
        run.run()
    assert run.result.best is not None
    assert run.result.best.metric == 1.0
    assert run.result.stop_reason is StopReason.FAILED


def test_weights_that_could_not_be_saved_are_not_claimed() -> None:
    run = search(lambda rate, age: 0.9 + age / 100, adaptive(initial_training_phase_epochs=3))
    save, saves = run.runner.save, []

    def full_disk(name: str) -> Any:
        saves.append(name)
        if len(saves) == 3:  # untouched, then the first epoch, then the second
            raise OSError("no space left")
        return save(name)

    run.runner.save = full_disk  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space left"):
        run.run()
    assert run.result.best is not None
    assert (run.result.best.epoch, run.result.best.metric) == (1, 0.91)


def test_an_observer_that_raises_ends_the_run_and_loses_nothing() -> None:
    class Broken:
        def notify(self, event: object) -> None:
            if isinstance(event, EpochStarted) and event.number == 2:
                raise OSError("no space left")

    run = search(holds_up_to(1.0), observers=[Broken()])
    with pytest.raises(OSError, match="no space left"):
        run.run()
    assert run.result.best is not None
    assert run.result.best.target_rate == 0.5


# What observers are told ----------------------------------------------------------------


def test_observers_are_told_of_every_trial_as_it_is_judged() -> None:
    run = search(holds_up_to(0.55)).run()
    finished = [event.trial for event in run.recorder.of(TrialFinished)]
    assert [trial.within_budget for trial in finished] == [True, False, True, False]
    assert finished[1].reason == "beyond the limit by 0.9"
    assert run.recorder.events[-1] == SearchFinished(run.result)


def test_a_tensorboard_writer_gets_scalars() -> None:
    class Writer:
        def __init__(self) -> None:
            self.scalars: list[tuple[str, float, int]] = []

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            self.scalars.append((tag, value, step))

    writer, run = Writer(), search(holds_up_to(0.5), adaptive(maximal_total_epochs=2))
    callbacks = run.runner.callbacks
    model = run.loop.run(
        run.model,
        callbacks.train_epoch_fn,
        callbacks.validate_fn,
        callbacks.configure_optimizers_fn,
        tensorboard_writer=writer,
    )
    assert model is run.model
    assert ("validation/metric", 1.0, 1) in writer.scalars
    assert ("compression/rate", 0.6, 2) in writer.scalars
    assert ("search/target_rate", 0.6, 2) in writer.scalars
    assert ("search/within_budget", 0.0, 2) in writer.scalars
    assert not [scalar for scalar in writer.scalars if scalar[0] == "train/loss"]


# early_exit -----------------------------------------------------------------------------


def test_early_exit_validates_before_the_first_epoch_and_may_need_none() -> None:
    run = search(holds_up_to(0.6), early_exit()).run()
    assert run.trained == []
    assert run.result.epochs == 0
    assert run.result.stop_reason is StopReason.WITHIN_BUDGET
    assert run.result.best is not None
    assert (run.result.best.epoch, run.result.best.compression_rate) == (0, 0.5)
    assert [event.epoch.number for event in run.recorder.of(EpochFinished)] == [0]


def test_early_exit_trains_until_within_budget_and_then_stops() -> None:
    run = search(lambda rate, age: (6 + age) / 10, early_exit()).run()
    assert run.result.epochs == 3
    assert run.result.within_budget
    assert run.result.best is not None
    assert run.result.best.epoch == 3
    assert [epoch for epoch, _ in run.trained] == [0, 1, 2]


def test_early_exit_does_not_stop_before_full_compression() -> None:

    run = search(
        holds_up_to(1.0), early_exit(), schedule=Exponential(init=0.0, target=0.5, duration=4)
    ).run()
    assert [epoch for epoch, _ in run.trained] == [0, 1, 2, 3, 4]
    assert [rate for _, rate in run.trained] == sorted(rate for _, rate in run.trained)
    assert run.trained[0][1] == 0
    assert run.result.best is not None
    assert run.result.best.compression_rate == 0.5


def test_early_exit_out_of_epochs_hands_over_the_best_effort() -> None:
    run = search(
        lambda rate, age: 0.5 - abs(age - 3) / 100, early_exit(maximal_total_epochs=6)
    ).run()
    assert run.result.epochs == 6
    assert run.result.stop_reason is StopReason.EPOCHS_SPENT
    assert run.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert run.result.best is not None
    assert (run.result.best.epoch, run.result.best.metric) == (3, 0.5)
    assert run.model.age == 3


def test_early_exit_validates_every_n_epochs_and_always_at_the_last() -> None:
    run = search(
        holds_up_to(0.1), early_exit(maximal_total_epochs=5, validate_every_n_epochs=2)
    ).run()
    assert run.validated == [0, 1, 3, 4, 4]  # before training, three times, and the best again


def test_early_exit_asks_early_stopping_too() -> None:
    run = search(holds_up_to(0.1), early_exit(), early_stopping_fn=lambda metric: True).run()
    assert run.result.epochs == 1
    assert run.result.stop_reason is StopReason.STOPPED_BY_USER_FUNCTION


def test_early_exit_with_a_nan_ends_with_what_was_best() -> None:
    run = search(lambda rate, age: math.nan if age == 2 else 0.5 + age / 100, early_exit()).run()
    assert run.result.epochs == 2
    assert run.result.stop_reason is StopReason.FAILED
    assert run.result.best is not None
    assert run.result.best.metric == 0.51
    assert run.result.trials[0].reason == "the metric is nan in epoch 2"


def test_early_exit_that_is_interrupted_tells_what_it_had() -> None:
    run = search(
        lambda rate, age: 0.5 + age / 100,
        early_exit(),
        train_epoch_fn=stop_at(2, KeyboardInterrupt()),
    )
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.result.stop_reason is StopReason.INTERRUPTED
    assert run.result.best is not None
    assert run.result.best.metric == 0.52
