"""What holds for any model, whatever its metric does as the rate rises."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accaware.search import AdaptiveParams, SearchStatus, StopReason, TrialPhase
from accaware.search.events import SearchStarted, TrialStarted
from tests.runners.fake import Script, Search, adaptive, search

BASELINE = 0.9
GRID = 1e-6


def hundredths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda number: number / 100)


def thousandths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda number: number / 1000)


@dataclass(frozen=True)
class Layout:
    """Only multiples of ``quantum`` can be achieved, from below or from above; 0 for any rate."""

    quantum: float
    upwards: bool

    def __call__(self, rate: float) -> float:
        if not self.quantum:
            return rate
        steps = rate / self.quantum
        whole = math.ceil(steps - 1e-9) if self.upwards else math.floor(steps + 1e-9)
        return min(round(whole * self.quantum, 9), 1.0)


@dataclass(frozen=True)
class World:
    """Piecewise constant in the rate, with a term for the epoch of the trial."""

    levels: tuple[float, ...]
    by_epoch: tuple[float, ...] = (0.0,)

    def __call__(self, rate: float, age: int) -> float:
        piece = min(int(rate * len(self.levels)), len(self.levels) - 1)
        return self.levels[piece] + self.by_epoch[age % len(self.by_epoch)]


layouts = st.builds(Layout, st.sampled_from([0.0, 0.01, 0.03, 0.125]), st.booleans())
metrics = st.one_of(hundredths(0, 100), st.just(math.nan))
worlds = st.builds(
    World,
    st.lists(metrics, min_size=1, max_size=30).map(tuple),
    st.lists(hundredths(-5, 5), min_size=1, max_size=3).map(tuple),
)


@st.composite
def params(draw: st.DrawFn) -> AdaptiveParams:
    lowest = draw(st.integers(0, 40))
    return adaptive(
        maximal_absolute_accuracy_degradation=draw(hundredths(0, 50)),
        initial_training_phase_epochs=draw(st.integers(0, 4)),
        patience_epochs=draw(st.integers(1, 4)),
        minimal_compression_rate_step=draw(thousandths(1, 60)),
        initial_compression_rate_step=draw(thousandths(60, 400)),
        compression_rate_step_reduction_factor=draw(st.one_of(st.just(0.5), st.floats(0.05, 0.95))),
        validate_every_n_epochs=draw(st.integers(1, 3)),
        maximal_total_epochs=draw(st.sampled_from([1, 5, 20, 10000])),
        lr_reduction_factor=draw(hundredths(10, 100)),
        stop_trial_when_within_budget=draw(st.booleans()),
        minimal_compression_rate=lowest / 100,
        maximal_compression_rate=draw(hundredths(lowest, 100)),
    )


starts = thousandths(0, 1000)
reaches = st.one_of(st.just(1.0), st.floats(0.3, 1.0))


def run(world: Script, given_params: AdaptiveParams, **world_of: Any) -> Search:
    return search(world, given_params, baseline=BASELINE, **world_of).run()


@given(worlds, params(), starts, layouts, reaches)
def test_what_holds_for_any_search(
    world: World, given_params: AdaptiveParams, start: float, layout: Layout, reach: float
) -> None:
    found = run(world, given_params, start=start, layout=layout, maximal=reach)
    result, budget = found.result, found.result.budget
    trials = result.trials

    # A target is trained once, and so is a layout; where the initial phase failed, once more.
    judged = [trial for trial in trials if trial.phase is TrialPhase.SEARCH or trial.judged]
    assert len({trial.target_rate for trial in judged}) == len(judged)
    assert len({trial.compression_rate for trial in judged}) == len(judged)
    phases = [trial.phase for trial in trials]
    initial = [TrialPhase.INITIAL] * bool(given_params.initial_training_phase_epochs)
    assert phases == initial + [TrialPhase.SEARCH] * (len(trials) - len(initial))

    # Within the bounds, and on the grid.
    highest = min(given_params.maximal_compression_rate, reach)
    lowest = min(given_params.minimal_compression_rate, highest)
    for trial in trials:
        if trial.phase is TrialPhase.SEARCH:
            assert lowest - GRID <= trial.target_rate <= highest
            assert trial.target_rate == round(trial.target_rate, 6)
            assert trial.compression_rate > 0

    # Within the epochs, each of them counted.
    assert result.epochs == len(found.trained) <= given_params.maximal_total_epochs
    assert result.epochs == sum(len(trial.epochs) for trial in trials)
    assert all(
        len(trial.epochs) <= given_params.patience_epochs for trial in trials[len(initial) :]
    )
    for trial in trials:
        assert trial.metric is not None or not trial.within_budget
        assert trial.within_budget == budget.admits(trial.metric)

    # The highest rate within budget is the answer, and the model is what the result says.
    passed = [trial for trial in trials if trial.within_budget]
    assert result.within_budget == bool(passed)
    if passed:
        assert result.best is not None
        assert result.best.compression_rate == max(trial.compression_rate for trial in passed)
    if result.best:
        assert result.best.metric == world(found.model.rate, found.model.age)
        assert result.best.compression_rate == found.controller.compression_rate
        assert budget.admits(result.best.metric) == result.within_budget
    else:
        assert result.status is SearchStatus.NOT_WITHIN_BUDGET
        assert found.controller.compression_rate == 0

    # Only what a later trial could need is kept.
    kept = {trial.checkpoint for trial in trials if trial.checkpoint}
    assert found.runner.saved.keys() == {"untouched"} | kept
    assert len(kept) == (min(len(passed), 2) or (1 if result.best else 0))

    # A trial starts from the highest rate within budget below its own, however few are kept; as
    # long as there is none at all, from the best effort.
    for event in found.recorder.of(TrialStarted)[1:]:
        before = trials[: event.number]
        start = None if event.start is None else trials[event.start].compression_rate
        if any(trial.within_budget for trial in before):
            below = [
                trial.compression_rate
                for trial in before
                if trial.within_budget and trial.compression_rate < event.target_rate
            ]
            assert start == max(below, default=None)
        else:
            efforts = [budget.margin(trial.metric) for trial in before if trial.metric is not None]
            assert (start is None) == (not efforts)
            if event.start is not None:
                assert budget.margin(trials[event.start].metric) == max(efforts)


@given(worlds, params(), starts, layouts, reaches)
def test_the_steps_never_grow(
    world: World, given_params: AdaptiveParams, start: float, layout: Layout, reach: float
) -> None:
    found = run(world, given_params, start=start, layout=layout, maximal=reach)
    highest = found.recorder.of(SearchStarted)[0].maximal_rate
    lowest = min(given_params.minimal_compression_rate, highest)
    asked = [rate for rate, _ in found.asked]
    steps = [
        abs(after - before)
        for before, after in pairwise(asked)
        if after not in (lowest, highest)  # those may have been cut short
    ]
    assert all(after <= before + 1e-9 for before, after in pairwise(steps))
    assert all(step >= given_params.minimal_compression_rate_step - 1e-9 for step in steps)
    factors = [trial.lr_factor for trial in found.result.trials]
    assert factors == sorted(factors, reverse=True)


@given(worlds, params(), starts, layouts)
def test_flipping_metric_and_direction_changes_nothing(
    world: World, given_params: AdaptiveParams, start: float, layout: Layout
) -> None:
    up = search(world, given_params, baseline=BASELINE, start=start, layout=layout).run()
    down = search(
        lambda rate, age: -world(rate, age),
        given_params,
        baseline=-BASELINE,
        higher_is_better=False,
        start=start,
        layout=layout,
    ).run()
    assert up.asked == down.asked
    assert up.trained == down.trained
    assert [trial.best_epoch for trial in up.result.trials] == [
        trial.best_epoch for trial in down.result.trials
    ]
    assert (up.result.best is None) == (down.result.best is None)
    if up.result.best and down.result.best:
        assert up.result.best == replace(down.result.best, metric=-down.result.best.metric)


@given(thousandths(0, 1000), params(), starts, layouts)
def test_a_falling_metric_is_followed_to_within_the_last_step_of_its_threshold(
    threshold: float, given_params: AdaptiveParams, start: float, layout: Layout
) -> None:
    """The last step is at least the minimum, and times the factor it is below it.

    The best rate and the lowest one that failed are at most that step apart, and the threshold,
    up to the layout's quantum, is between the two.
    """
    given_params = replace(given_params, maximal_total_epochs=10000)
    lowest, highest = given_params.minimal_compression_rate, given_params.maximal_compression_rate
    start = min(max(start, lowest), highest)
    found = run(
        lambda rate, age: 1.0 if rate <= threshold else 0.0,
        given_params,
        start=start,
        layout=layout,
    )
    result = found.result
    best = result.best.compression_rate if result.best and result.within_budget else 0.0
    assert best <= threshold
    factor = given_params.compression_rate_step_reduction_factor
    last_step = given_params.minimal_compression_rate_step / factor + GRID / factor
    match result.stop_reason:
        case StopReason.STEP_BELOW_MINIMUM:
            assert threshold - best <= last_step + layout.quantum + GRID
        case StopReason.MAXIMAL_RATE:
            assert best == layout(highest)
        case StopReason.MINIMAL_RATE:
            assert not result.within_budget
            assert threshold < layout(lowest)
        case other:
            raise AssertionError(other)


@given(worlds, params(), starts, layouts)
def test_the_same_world_gives_the_same_search(
    world: World, given_params: AdaptiveParams, start: float, layout: Layout
) -> None:
    first, second = (run(world, given_params, start=start, layout=layout) for _ in range(2))
    assert first.runner.calls == second.runner.calls or math.nan in world.levels
    assert first.asked == second.asked
    assert first.result.epochs == second.result.epochs
