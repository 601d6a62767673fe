"""What every strategy keeps, whatever the metric does as the rate rises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.search import AdaptiveParams, History, StopReason
from accaware.search.budget import AccuracyBudget
from accaware.search.events import SearchStarted
from accaware.search.params import Confirmation
from accaware.search.strategies.descent import Descent
from accaware.search.strategies.ramp import Ramp
from accaware.search.strategies.strategy import (
    Answered,
    Bounds,
    Decision,
    FollowSchedule,
    Propose,
    Stop,
    Strategy,
    on_grid,
)
from accaware.search.strategies.uniform_decrease import UniformDecrease
from tests.runners.fake import Search, holds_up_to, search
from tests.search.test_properties import BASELINE, GRID, layouts, params, reaches, worlds

STRATEGIES = ("uniform_decrease", "ramp")


@st.composite
def any_params(draw: st.DrawFn, name: str) -> AdaptiveParams:
    """Those of the step search's properties, with what the strategy itself knows."""
    drawn = replace(draw(params()), strategy=name)
    if name == "ramp":
        drawn = replace(drawn, polish=draw(st.booleans()))
    learning_rate = draw(st.sampled_from(["as_configured", "search", "cosine", 2.0]))
    return replace(drawn, trial_learning_rate=learning_rate)


def strategy_of(given_params: AdaptiveParams, bounds: Bounds, budget: AccuracyBudget) -> Strategy:
    if given_params.strategy == "ramp":
        return Ramp(given_params, bounds, budget)
    return UniformDecrease(given_params, bounds, budget)


def played(
    data: st.DataObject, name: str
) -> tuple[AdaptiveParams, Search, list[tuple[History, Decision]]]:
    """A search, and each decision of it with its history."""
    given_params = data.draw(any_params(name))
    world, layout, reach = data.draw(worlds), data.draw(layouts), data.draw(reaches)
    found = search(world, given_params, baseline=BASELINE, layout=layout, maximal=reach)
    decisions: list[tuple[History, Decision]] = []
    strategy = found.loop._strategy  # type: ignore[union-attr]

    class Watched:
        most_epochs = strategy.most_epochs

        def decide(self, history: History) -> Decision:
            decisions.append((history, strategy.decide(history)))
            return decisions[-1][1]

        def wanted(self, history: History) -> frozenset[int]:
            return strategy.wanted(history)

    found.loop._strategy = Watched()  # type: ignore[union-attr]
    return given_params, found, decisions


@pytest.mark.parametrize("name", STRATEGIES)
@given(data=st.data())
def test_what_every_strategy_keeps(name: str, data: st.DataObject) -> None:
    given_params, found, decisions = played(data, name)
    # The loop makes its strategy anew when it learns the baseline, so it is driven by hand.
    found.loop.adopt = lambda params: None  # type: ignore[method-assign]
    found.run()
    result, budget = found.result, found.result.budget
    started = found.recorder.of(SearchStarted)[0]
    bounds = Bounds.of(given_params, started.maximal_rate)
    assert decisions
    for history, decision in decisions:
        # It is a function of the history.
        assert strategy_of(given_params, bounds, budget).decide(history) == decision
        match decision:
            case Propose():
                assert bounds.minimal <= decision.rate <= bounds.maximal
                assert decision.rate == on_grid(decision.rate)
                assert 1 <= decision.epochs <= given_params.patience_epochs
                assert decision.lr_factor > 0
                if decision.start is not None:
                    assert history.trials[decision.start].checkpoint is not None
            case FollowSchedule(epochs):
                assert not history.trials
                assert epochs == given_params.initial_training_phase_epochs
            case Answered(step):
                assert history.known(step.target_rate) == step
            case Stop(reason):
                assert reason in StopReason
    # It ends, at the price that was told.
    assert result.epochs <= started.most_epochs <= given_params.maximal_total_epochs
    # The highest rate within budget is the answer.
    passed = [trial for trial in result.trials if trial.within_budget]
    assert result.within_budget == bool(passed)
    if passed:
        assert result.best is not None
        assert result.best.compression_rate == max(trial.compression_rate for trial in passed)
    # Only weights that are wanted, or the best ones, are kept.
    kept = {trial.checkpoint for trial in result.trials if trial.checkpoint}
    assert found.runner.saved.keys() == {"untouched"} | kept


@pytest.mark.parametrize("name", STRATEGIES)
@given(
    data=st.data(),
    seen=st.integers(30, 100).map(lambda number: number / 100),
    unseen=st.integers(0, 100).map(lambda number: number / 100),
    slow=st.integers(1, 3),
)
def test_what_a_descent_keeps(
    name: str, data: st.DataObject, seen: float, unseen: float, slow: int
) -> None:
    """Below what the confirmation refused, it goes down alone, within the bounds, and ends."""
    given_params = replace(data.draw(any_params(name)), confirmation=Confirmation())
    found = search(
        lambda rate, age: (1.0 if age >= slow else 0.8) if rate <= seen else 0.0,
        given_params,
        layout=data.draw(layouts),
        maximal=data.draw(reaches),
        confirmation=holds_up_to(unseen),
        confirmation_baseline=1.0,
    )
    asked: list[tuple[History, Decision]] = []

    class Watched(Descent):
        def decide(self, history: History) -> Decision:
            asked.append((history, super().decide(history)))
            return asked[-1][1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("accaware.search.loop.Descent", Watched)
        found.run()
    result, started = found.result, found.recorder.of(SearchStarted)[0]
    assert result.epochs <= started.most_epochs <= given_params.maximal_total_epochs
    bounds = Bounds.of(given_params, started.maximal_rate)
    for history, decision in asked:
        assert Descent(given_params, bounds).decide(history) == decision
        refused = [step for step in history.steps if step.trial in history.refused]
        if isinstance(decision, Propose):
            assert bounds.minimal <= decision.rate < min(step.target_rate for step in refused)
            assert decision.rate == on_grid(decision.rate)
            assert decision.epochs == given_params.patience_epochs
            if decision.start is not None:
                assert history.trials[decision.start].checkpoint is not None
        else:
            assert decision == Stop(StopReason.CONFIRMATION)
    assert result.confirmation is not None
    held = [one for one in result.confirmation.tried if one.within_budget]
    assert result.within_budget == bool(held)
    assert held in ([], list(result.confirmation.tried[-1:]))


@pytest.mark.parametrize("name", STRATEGIES)
@given(threshold=st.integers(0, 1000).map(lambda number: number / 1000), data=st.data())
def test_a_threshold_is_found(name: str, threshold: float, data: st.DataObject) -> None:
    """Where the metric holds up to a rate and is lost above, the search ends close below it."""
    given_params = replace(
        data.draw(any_params(name)),
        maximal_total_epochs=10000,
        compression_rate_step_reduction_factor=0.5,
    )
    lowest, highest = given_params.minimal_compression_rate, given_params.maximal_compression_rate
    found = search(holds_up_to(threshold), given_params, start=min(max(0.5, lowest), highest)).run()
    result = found.result
    best = result.best.compression_rate if result.best and result.within_budget else 0.0
    assert best <= threshold
    step = given_params.minimal_compression_rate_step
    if threshold >= highest:
        assert highest - best <= 2 * step + GRID
    elif threshold >= lowest:
        assert threshold - best <= 2 * step + GRID
