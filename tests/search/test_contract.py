"""What every pair of a Runner and a CompressionController has to keep, and the loop over it.

A pair is registered in tests/runners/cases.py.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from accaware.search import AdaptiveCompressionTrainingLoop, SearchResult, TrialPhase
from accaware.search.events import (
    BatchFinished,
    EpochFinished,
    EpochStarted,
    Event,
    RateKnown,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)
from accaware.search.params import Confirmation
from accaware.search.ports import Runner, TrainingCallbacks
from tests.runners.base import Case, Config
from tests.runners.cases import CASES, make_case
from tests.runners.fake import Recorder

ORDER = (SearchStarted, TrialStarted, EpochStarted, EpochFinished, TrialFinished, SearchFinished)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(request.param)


@pytest.fixture
def runner(case: Case, tmp_path: Path) -> Runner:
    return case.controller.create_runner(case.model, case.callbacks, str(tmp_path))


def spied(case: Case) -> tuple[TrainingCallbacks, list[dict[str, Any]]]:
    """The callbacks, and a list that grows by the arguments of each training epoch."""
    calls: list[dict[str, Any]] = []

    def train_epoch_fn(controller: Any, model: Any, **arguments: Any) -> float | None:
        rate = case.learning_rate(arguments["optimizer"])
        calls.append({**arguments, "controller": controller, "model": model, "rate": rate})
        return case.callbacks.train_epoch_fn(controller, model, **arguments)

    return replace(case.callbacks, train_epoch_fn=train_epoch_fn), calls


def run(case: Case, tmp_path: Path, **params: Any) -> tuple[SearchResult, Recorder, list[Any]]:
    callbacks, calls = spied(case)
    recorder = Recorder()
    loop = AdaptiveCompressionTrainingLoop(
        Config(replace(case.params, **params), case.higher_is_better),
        case.controller,
        case.baseline,
        observers=[recorder],
    )
    functions = {field.name: getattr(callbacks, field.name) for field in fields(callbacks)}
    assert loop.run(case.model, **functions, log_dir=str(tmp_path)) is case.model
    return loop.result, recorder, calls


@dataclass
class Ended:
    """A search with the case's own params, for tests that only look at what came of it."""

    case: Case
    result: SearchResult
    recorder: Recorder
    calls: list[Any]


@pytest.fixture(scope="module", params=CASES)
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    case = make_case(request.param)
    return Ended(case, *run(case, tmp_path_factory.mktemp("search")))


def test_the_baseline_model_has_the_baseline_and_no_compression(case: Case, runner: Runner) -> None:
    assert case.controller.compression_rate == 0
    assert runner.validate(0).value == case.baseline


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.8])
def test_a_rate_that_is_set_is_achieved_and_measured_on_the_model(case: Case, rate: float) -> None:
    case.controller.compression_rate = rate
    assert case.controller.compression_rate == pytest.approx(rate, abs=case.closeness)
    assert case.measure() == pytest.approx(case.controller.compression_rate, abs=1e-6)


def test_a_rate_is_still_measured_after_training(case: Case, runner: Runner) -> None:
    case.controller.compression_rate = 0.5
    before = case.controller.compression_rate
    runner.start(1.0)
    runner.train_epoch(0)
    assert case.controller.compression_rate == before
    assert case.measure() == pytest.approx(before, abs=1e-6)


def test_no_rate_above_the_maximal_one_is_achieved(case: Case) -> None:
    highest = case.controller.maximal_compression_rate
    case.controller.compression_rate = highest
    assert case.controller.compression_rate <= highest + 1e-9
    assert case.controller.compression_rate == pytest.approx(highest, abs=case.closeness)


def test_going_up_and_back_down_restores_the_model(case: Case, runner: Runner) -> None:
    case.controller.compression_rate = 0.3
    rate, metric = case.controller.compression_rate, runner.validate(0)
    case.controller.compression_rate = 0.8
    assert case.controller.compression_rate > rate
    case.controller.compression_rate = 0.3
    assert case.controller.compression_rate == rate
    assert runner.validate(0) == metric


def test_going_up_and_back_to_nothing_restores_the_baseline_model(
    case: Case, runner: Runner
) -> None:
    case.controller.compression_rate = 0.7
    case.controller.compression_rate = 0.0
    assert case.controller.compression_rate == 0
    assert runner.validate(0).value == case.baseline


def test_one_process_agrees_with_itself(runner: Runner) -> None:
    assert runner.agree(0.25) == 0.25


def test_load_brings_back_metric_and_rate_and_the_reported_rate(case: Case, runner: Runner) -> None:
    case.controller.compression_rate = 0.4
    runner.start(1.0)
    runner.train_epoch(0)
    rate, metric = case.controller.compression_rate, runner.validate(0)
    checkpoint = runner.save("first")

    case.controller.compression_rate = 0.8
    runner.train_epoch(1)
    assert (case.controller.compression_rate, runner.validate(1)) != (rate, metric)

    runner.load(checkpoint)
    assert case.controller.compression_rate == rate
    assert case.measure() == pytest.approx(rate, abs=1e-6)
    assert runner.validate(1) == metric


def test_a_checkpoint_can_be_loaded_again_after_training_went_on_from_it(
    case: Case, runner: Runner
) -> None:
    case.controller.compression_rate = 0.4
    metric, checkpoint = runner.validate(0), runner.save("first")
    for epoch in range(2):
        runner.load(checkpoint)
        assert runner.validate(epoch) == metric
        runner.start(1.0)
        runner.train_epoch(epoch)


def test_a_save_under_the_same_name_replaces_the_earlier_one(case: Case, runner: Runner) -> None:
    runner.save("best")
    case.controller.compression_rate = 0.6
    rate, checkpoint = case.controller.compression_rate, runner.save("best")
    case.controller.compression_rate = 0.2
    runner.load(checkpoint)
    assert case.controller.compression_rate == rate


def test_a_dropped_checkpoint_leaves_the_others_alone(case: Case, runner: Runner) -> None:
    dropped = runner.save("dropped")
    case.controller.compression_rate = 0.6
    rate, kept = case.controller.compression_rate, runner.save("kept")
    runner.discard(dropped)
    case.controller.compression_rate = 0.2
    runner.load(kept)
    assert case.controller.compression_rate == rate


def test_start_gives_a_fresh_optimizer_with_the_factor_on_its_base_learning_rate(
    case: Case, tmp_path: Path
) -> None:
    callbacks, calls = spied(case)
    runner = case.controller.create_runner(case.model, callbacks, str(tmp_path))
    for epoch, factor in enumerate((1.0, 0.5, 1.0)):
        runner.start(factor)
        runner.train_epoch(epoch)
    first, second, third = calls
    assert first["optimizer"] is not second["optimizer"]
    assert second["rate"] == pytest.approx(first["rate"] / 2)
    assert third["rate"] == pytest.approx(first["rate"])


def test_the_training_function_gets_what_is_promised(case: Case, tmp_path: Path) -> None:
    callbacks, calls = spied(case)
    runner = case.controller.create_runner(case.model, callbacks, str(tmp_path))
    runner.start(1.0)
    runner.train_epoch(7)
    assert calls[0]["controller"] is case.controller
    assert calls[0]["model"] is case.model
    assert calls[0]["epoch"] == 7
    assert {"optimizer", "lr_scheduler"} <= calls[0].keys()


def test_early_stopping_is_the_users_to_decide(case: Case, tmp_path: Path) -> None:
    callbacks = replace(case.callbacks, early_stopping_fn=lambda metric: metric > 0.5)
    runner = case.controller.create_runner(case.model, callbacks, str(tmp_path))
    assert runner.asks_to_stop(0.6) is True
    assert runner.asks_to_stop(0.4) is False


def test_without_an_early_stopping_function_nothing_stops(case: Case, runner: Runner) -> None:
    assert runner.asks_to_stop(0.0) is False


def test_the_search_ends_with_a_model_that_is_what_the_result_says(ended: Ended) -> None:
    case, result = ended.case, ended.result
    assert result.within_budget
    best = result.best
    assert best is not None
    assert best.compression_rate == case.controller.compression_rate
    assert case.measure() == pytest.approx(best.compression_rate, abs=1e-6)
    assert best.metric == case.callbacks.validate_fn(case.model)
    assert result.budget.admits(best.metric)
    passed = [trial.compression_rate for trial in result.trials if trial.within_budget]
    assert best.compression_rate == max(passed)


def test_the_final_model_is_confirmed_where_that_is_asked_for(case: Case, tmp_path: Path) -> None:
    loop = AdaptiveCompressionTrainingLoop(
        Config(
            replace(case.params, confirmation=Confirmation(), maximal_total_epochs=8),
            case.higher_is_better,
        ),
        case.controller,
        case.baseline,
        confirmation_baseline=case.baseline,
    )
    callbacks = replace(
        case.callbacks, confirm_fn=lambda model, epoch=0: case.callbacks.validate_fn(model) + 0.001
    )
    functions = {field.name: getattr(callbacks, field.name) for field in fields(callbacks)}
    loop.run(case.model, **functions, log_dir=str(tmp_path))
    best, confirmation = loop.result.best, loop.result.confirmation
    assert best is not None
    assert confirmation is not None
    assert loop.result.within_budget
    (confirmed,) = confirmation.tried
    assert confirmed.trial == best.trial
    assert confirmed.within_budget
    assert confirmed.metric == case.callbacks.validate_fn(case.model) + 0.001


def test_events_come_in_order(ended: Ended) -> None:
    result = ended.result
    events = [event for event in ended.recorder.events if not isinstance(event, BatchFinished)]
    assert isinstance(events[0], SearchStarted)
    assert events[-1] == SearchFinished(result)

    def trial_of(event: Event) -> int | None:
        match event:
            case TrialStarted(number=number):
                return number
            case EpochStarted(trial=number) | EpochFinished(trial=number):
                return number
            case TrialFinished(trial=trial):
                return trial.number
        return None

    inside = [event for event in events[1:-1] if not isinstance(event, RateKnown)]
    groups = [(number, list(group)) for number, group in groupby(inside, key=trial_of)]
    assert [number for number, _ in groups] == list(range(len(result.trials)))
    for trial, (_, group) in zip(result.trials, groups, strict=True):
        kinds = [type(event) for event in group]
        epochs = [EpochStarted, EpochFinished] * len(trial.epochs)
        assert kinds == [TrialStarted, *epochs, TrialFinished]
        last = group[-1]
        assert isinstance(last, TrialFinished)
        told = replace(last.trial, checkpoint=None)  # it may have been dropped since
        assert told == replace(trial, checkpoint=None)
        assert [event.epoch for event in group if isinstance(event, EpochFinished)] == list(
            trial.epochs
        )
    phases = [event.phase for event in events if isinstance(event, TrialStarted)]
    assert phases == [TrialPhase.INITIAL, *[TrialPhase.SEARCH] * (len(groups) - 1)]


def test_epochs_are_counted_over_the_whole_run(ended: Ended) -> None:
    result = ended.result
    assert [call["epoch"] for call in ended.calls] == list(range(result.epochs))
    numbers = [epoch.number for trial in result.trials for epoch in trial.epochs]
    assert numbers == list(range(1, result.epochs + 1))


@pytest.mark.parametrize("total", [1, 2, 4, 7])
def test_the_budget_of_epochs_is_never_exceeded(case: Case, tmp_path: Path, total: int) -> None:
    result, _, calls = run(case, tmp_path, maximal_total_epochs=total)
    assert len(calls) == result.epochs <= total


def test_each_trial_has_an_optimizer_of_its_own(ended: Ended) -> None:
    result = ended.result
    per_trial = [
        {id(ended.calls[epoch.number - 1]["optimizer"]) for epoch in trial.epochs}
        for trial in result.trials
    ]
    assert all(len(optimizers) == 1 for optimizers in per_trial)
    assert len(set().union(*per_trial)) == len(result.trials)


def test_without_an_initial_phase_the_first_step_is_the_first_trial(
    case: Case, tmp_path: Path
) -> None:
    result, _, calls = run(case, tmp_path, initial_training_phase_epochs=0)
    first = result.trials[0]
    assert first.phase is TrialPhase.SEARCH
    assert first.target_rate == case.params.initial_compression_rate_step
    assert first.compression_rate == pytest.approx(first.target_rate, abs=case.closeness)
    assert len(calls) == result.epochs == sum(len(trial.epochs) for trial in result.trials)
    assert result.within_budget
    assert result.best is not None
    assert case.measure() == pytest.approx(result.best.compression_rate, abs=1e-6)


@pytest.mark.parametrize("name", ["fake", "numpy"])
def test_the_search_needs_no_torch(name: str) -> None:
    script = f"""
import sys
from accaware.search import AdaptiveCompressionTrainingLoop
from tests.runners.base import Config
from tests.runners.cases import make_case
case = make_case({name!r})
loop = AdaptiveCompressionTrainingLoop(Config(case.params), case.controller, case.baseline)
loop.run(case.model, **vars(case.callbacks))
assert loop.result.within_budget
assert 'torch' not in sys.modules
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
