"""Verdicts that hold: confirmed on data that nothing else looked at, or shown with a confidence."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware import Metric
from accaware.errors import PluginContractError, UsageError
from accaware.search import AccuracyBudget, AdaptiveParams, SearchStatus, StopReason
from accaware.search.events import ConfirmationFinished, SearchStarted, Warned
from accaware.search.metric import BaselineMetric
from accaware.search.params import Confirmation, revived
from tests.runners.fake import Script, Search, adaptive, early_exit, holds_up_to, search
from tests.search.test_properties import BASELINE, World, layouts, params, reaches, starts, worlds

KEPT_BACK = Confirmation(fraction=0.5)


def confirmed(metric: Script, confirmation: Script, **changes: Any) -> Search:
    given_params = adaptive(confirmation=KEPT_BACK, **changes)
    return search(metric, given_params, confirmation=confirmation, confirmation_baseline=1.0).run()


def tried(found: Search) -> list[tuple[float, bool]]:
    """The rates of the models that were to be confirmed, in their order, and what came of it."""
    confirmation = found.result.confirmation
    assert confirmation is not None
    trials = found.result.trials
    return [(trials[one.trial].compression_rate, one.within_budget) for one in confirmation.tried]


# Confirmation ------------------------------------------------------------------------------------


def test_the_best_is_confirmed_and_handed_over() -> None:
    found = confirmed(holds_up_to(0.72), holds_up_to(0.9))
    assert found.result.within_budget
    assert found.result.best is not None
    rate = found.result.best.compression_rate
    assert tried(found) == [(rate, True)]
    confirmation = found.result.confirmation
    assert confirmation is not None
    assert confirmation.holds(found.result.best.trial)
    assert [event.confirmed for event in found.recorder.of(ConfirmationFinished)] == [
        *confirmation.tried
    ]
    assert found.recorder.of(SearchStarted)[0].confirmation == confirmation.budget


def test_the_confirmation_data_are_looked_at_in_the_end_alone() -> None:
    calls = [call[0] for call in confirmed(holds_up_to(0.72), holds_up_to(0.9)).runner.calls]
    assert calls.count("confirm") == 1
    assert "train" not in calls[calls.index("confirm") :]


def test_where_the_best_is_refused_the_next_lower_one_is_tried() -> None:
    found = confirmed(holds_up_to(0.72), holds_up_to(0.66))
    rates = [rate for rate, _ in tried(found)]
    assert rates == sorted(rates, reverse=True)
    assert [held for _, held in tried(found)] == [False] * (len(rates) - 1) + [True]
    assert found.result.within_budget
    assert found.result.best is not None
    assert found.result.best.compression_rate == rates[-1] == 0.6
    assert found.model.rate == 0.6


def test_where_none_is_confirmed_the_nearest_is_the_best_effort() -> None:
    found = confirmed(holds_up_to(0.72), lambda rate, age: 0.8 - rate / 10)
    assert [rate for rate, _ in tried(found)] == [0.7, 0.6, 0.5, 0.25, 0.125]
    assert not any(held for _, held in tried(found))
    assert found.result.status is SearchStatus.NOT_WITHIN_BUDGET
    assert found.result.stop_reason is StopReason.CONFIRMATION
    assert found.result.best is not None
    assert found.result.best.compression_rate == min(rate for rate, _ in tried(found))
    assert found.model.rate == found.result.best.compression_rate


@pytest.mark.parametrize("strategy", ["uniform_decrease", "ramp"])
@pytest.mark.parametrize("holds", [0.3, 0.45])
def test_where_all_are_refused_the_search_goes_on_below(strategy: str, holds: float) -> None:
    # An epoch alone never suffices, so that no step of the ramp may be confirmed.
    found = confirmed(
        lambda rate, age: (1.0 if age == 2 else 0.7) if rate <= 0.72 else 0.0,
        holds_up_to(holds),
        strategy=strategy,
        patience_epochs=2,
        initial_training_phase_epochs=2,
    )
    rates = [rate for rate, _ in tried(found)]
    assert [held for _, held in tried(found)] == [False] * (len(rates) - 1) + [True]
    assert found.result.within_budget
    assert found.result.stop_reason is StopReason.CONFIRMATION
    assert found.result.best is not None
    assert holds / 2 < found.result.best.compression_rate == rates[-1] <= holds
    # Nothing was trained at a rate above what had been refused by then.
    calls = found.runner.calls
    first = next(index for index, call in enumerate(calls) if call[0] == "confirm")
    below = [call[2] for call in calls[first:] if call[0] == "train"]
    assert below
    assert max(below) < rates[0]
    assert found.result.epochs <= found.recorder.of(SearchStarted)[0].most_epochs


def test_a_trial_far_below_waits_until_there_is_none_nearer() -> None:
    """Here the ramp's first step passes at once, and what lies above takes two epochs."""
    found = confirmed(
        lambda rate, age: (1.0 if age == 2 or rate < 0.2 else 0.7) if rate <= 0.72 else 0.0,
        holds_up_to(0.6),
        strategy="ramp",
        patience_epochs=2,
    )
    assert 0.15 in [trial.compression_rate for trial in found.result.trials if trial.within_budget]
    assert [held for _, held in tried(found)][-1]
    assert found.result.best is not None
    assert 0.4 < found.result.best.compression_rate <= 0.6


def test_a_layout_that_was_refused_is_not_trained_again() -> None:
    """Where only few layouts exist, a lower rate may have the one that was refused."""
    found = search(
        holds_up_to(0.72),
        adaptive(confirmation=KEPT_BACK, strategy="ramp"),
        confirmation=holds_up_to(0.5),
        confirmation_baseline=1.0,
        layout=lambda rate: 0.0 if rate == 0 else 0.3 if rate <= 0.3 else 0.7 if rate <= 0.7 else 1,
    ).run()
    assert tried(found) == [(0.7, False), (0.3, True)]


def test_epochs_that_are_spent_end_the_search_below_too() -> None:
    spent = confirmed(holds_up_to(0.72), holds_up_to(0.3)).result.epochs
    found = confirmed(holds_up_to(0.72), holds_up_to(0.3), maximal_total_epochs=spent - 1)
    assert found.result.epochs == spent - 1
    assert found.result.stop_reason is StopReason.EPOCHS_SPENT


def test_nan_confirms_nothing() -> None:
    found = confirmed(holds_up_to(0.72), lambda rate, age: math.nan)
    assert not found.result.within_budget
    assert found.result.best is not None


def test_the_budget_there_is_relative_to_the_dense_model_there() -> None:
    given_params = adaptive(maximal_relative_accuracy_degradation=10, confirmation=Confirmation())
    found = search(
        holds_up_to(0.72),
        given_params,
        confirmation=lambda rate, age: 0.46,
        confirmation_baseline=0.5,
    ).run()
    assert found.result.confirmation is not None
    assert found.result.confirmation.budget.minimal_tolerable == 0.45
    assert found.result.within_budget


def test_early_exit_is_confirmed() -> None:
    def ended(confirmation: Script) -> Search:
        return search(
            lambda rate, age: 1.0,
            early_exit(confirmation=KEPT_BACK),
            confirmation=confirmation,
            confirmation_baseline=1.0,
        ).run()

    assert ended(holds_up_to(0.9)).result.within_budget
    refused = ended(holds_up_to(0.1)).result
    assert not refused.within_budget
    assert refused.best is not None


@given(worlds, worlds, params(), starts, layouts, reaches)
def test_what_confirmation_refuses_is_never_within_budget(
    seen: World,
    unseen: World,
    given_params: AdaptiveParams,
    start: float,
    layout: Any,
    reach: float,
) -> None:
    asked = replace(given_params, confirmation=KEPT_BACK)
    world: dict[str, Any] = {"start": start, "layout": layout, "maximal": reach}
    found = search(
        seen,
        asked,
        baseline=BASELINE,
        confirmation=unseen,
        confirmation_baseline=BASELINE,
        **world,
    ).run()
    result, confirmation = found.result, found.result.confirmation
    assert confirmation is not None
    held = confirmation.budget.admits(unseen(found.model.rate, found.model.age))
    assert result.within_budget == (
        result.best is not None and confirmation.holds(result.best.trial)
    )
    if result.within_budget:
        assert held
        assert result.budget.admits(result.best.metric if result.best else None)
    rates = [rate for rate, _ in tried(found)]
    assert rates == sorted(rates, reverse=True)


def test_an_interrupted_search_has_nothing_confirmed() -> None:
    class Impatient:
        def notify(self, event: object) -> None:
            if isinstance(event, ConfirmationFinished) and not event.confirmed.within_budget:
                raise KeyboardInterrupt

    found = search(
        holds_up_to(0.72),
        adaptive(confirmation=KEPT_BACK),
        confirmation=holds_up_to(0.66),
        confirmation_baseline=1.0,
        observers=[Impatient()],
    )
    with pytest.raises(KeyboardInterrupt):
        found.run()
    assert not found.result.within_budget
    assert found.result.best is not None
    refused = tried(found)[0][0]
    assert found.result.best.compression_rate < refused


@pytest.mark.parametrize(
    ("given_params", "baseline"), [(adaptive(confirmation=KEPT_BACK), None), (adaptive(), 1.0)]
)
def test_a_baseline_for_it_belongs_to_it(
    given_params: AdaptiveParams, baseline: float | None
) -> None:
    with pytest.raises(UsageError, match="give both, or neither"):
        search(holds_up_to(0.7), given_params, confirmation_baseline=baseline)


@pytest.mark.parametrize("asked", [True, False])
def test_a_function_for_it_belongs_to_it(asked: bool) -> None:
    found = search(
        holds_up_to(0.7),
        adaptive(confirmation=KEPT_BACK if asked else None),
        confirmation_baseline=1.0 if asked else None,
    )
    functions = {
        name: function
        for name, function in vars(found.runner.callbacks).items()
        if name in ("train_epoch_fn", "validate_fn", "configure_optimizers_fn")
    }
    confirm_fn = None if asked else found.runner.callbacks.validate_fn
    with pytest.raises(UsageError, match=r"confirm_fn.*give both, or neither"):
        found.loop.run(found.model, **functions, confirm_fn=confirm_fn)


def test_parameters_come_back_from_a_recording() -> None:
    for each in (adaptive(confirmation=KEPT_BACK), early_exit(confirmation=Confirmation())):
        assert revived(asdict(each)) == each
    assert revived(asdict(adaptive())) == adaptive()


# Standard errors and confidence ------------------------------------------------------------------

SAMPLES = 200


def of_samples(right: int, *, lower_is_better: bool = False) -> Metric:
    """So many of the first samples are right; a share, of the wrong ones where less is better."""
    values = [float((index < right) != lower_is_better) for index in range(SAMPLES)]
    return Metric(sum(values) / SAMPLES, per_sample=values)


def sampled(drop: Any, *, lower_is_better: bool = False, **changes: Any) -> Search:
    """``drop`` samples of 180 are lost at a rate."""
    return search(
        lambda rate, age: of_samples(180 - drop(rate), lower_is_better=lower_is_better),
        adaptive(**changes),
        baseline=of_samples(180, lower_is_better=lower_is_better),
        higher_is_better=not lower_is_better,
    )


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_trials_know_their_standard_error(lower_is_better: bool) -> None:
    found = sampled(lambda rate: round(20 * rate), lower_is_better=lower_is_better).run()
    for trial in found.result.trials:
        lost = round(20 * trial.compression_rate) / SAMPLES
        expected = math.sqrt(lost * (1 - lost) / (SAMPLES - 1))
        assert trial.standard_error == pytest.approx(expected)
        assert trial.epochs[-1].standard_error == trial.standard_error
    best, budget = found.result.best, found.result.budget
    assert best is not None
    assert best.standard_error == found.result.trials[best.trial].standard_error
    assert budget.samples == SAMPLES
    assert budget.in_samples(best.absolute_degradation) == round(20 * best.compression_rate)
    assert budget.in_samples(budget.tolerance) == 20


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.99])
def test_with_a_required_confidence_the_bound_has_to_hold(
    lower_is_better: bool, confidence: float
) -> None:
    changes: dict[str, Any] = {"maximal_absolute_accuracy_degradation": 0.05}
    found = sampled(
        lambda rate: round(20 * rate),
        lower_is_better=lower_is_better,
        required_confidence=confidence,
        **changes,
    ).run()
    quantile = NormalDist().inv_cdf(confidence)
    verdicts = set()
    for trial in found.result.trials:
        lost = round(20 * trial.compression_rate) / SAMPLES
        assert trial.standard_error is not None
        assert trial.within_budget == (lost + quantile * trial.standard_error <= 0.05)
        verdicts.add(trial.within_budget)
    best = found.result.best
    assert best is not None
    assert found.result.within_budget
    assert verdicts == {True, False}
    compared = sampled(
        lambda rate: round(20 * rate), lower_is_better=lower_is_better, **changes
    ).run()
    assert compared.result.best is not None
    assert best.compression_rate < compared.result.best.compression_rate


@given(
    st.integers(0, 40).map(lambda value: value / 100),
    st.integers(0, 20).map(lambda value: value / 100),
    st.floats(0, 0.2),
    st.floats(0.51, 0.99),
    st.booleans(),
)
def test_confidence_only_takes_away(
    lost: float, tolerance: float, error: float, confidence: float, higher: bool
) -> None:
    metric = 0.5 - lost if higher else 0.5 + lost
    plain = AccuracyBudget(0.5, tolerance, higher)
    sure = replace(plain, required_confidence=confidence)
    assert not sure.admits(metric, error) or plain.admits(metric, error)
    assert sure.admits(metric, 0.0) == plain.admits(metric)
    assert sure.admits(metric, error) == (sure.margin(metric, error) >= 0)


def test_with_no_tolerance_the_dense_model_itself_holds() -> None:
    budget = AccuracyBudget(0.9, 0.0, required_confidence=0.9)
    assert budget.admits(0.9, 0.0)
    assert not budget.admits(0.9, 0.01)
    assert budget.admits(0.92, 0.01)


def test_confidence_without_samples_is_refused() -> None:
    with pytest.raises(PluginContractError, match=r"validate must return accaware.Metric"):
        search(holds_up_to(0.7), adaptive(required_confidence=0.9))
    found = search(
        lambda rate, age: 0.9,
        adaptive(required_confidence=0.9),
        baseline=of_samples(180),
    )
    with pytest.raises(PluginContractError, match=r"validate must return accaware.Metric"):
        found.run()
    assert found.result.stop_reason is StopReason.FAILED
    assert found.result.best is None


def test_a_confidence_holds_for_the_confirmation_too() -> None:
    def ended(lost: int) -> Search:
        return search(
            lambda rate, age: of_samples(180),
            adaptive(
                confirmation=KEPT_BACK,
                required_confidence=0.95,
                maximal_absolute_accuracy_degradation=0.05,
            ),
            baseline=of_samples(180),
            confirmation=lambda rate, age: of_samples(180 - lost),
            confirmation_baseline=of_samples(180),
        ).run()

    assert ended(4).result.within_budget
    assert not ended(9).result.within_budget


def test_a_budget_below_two_standard_errors_is_warned_of() -> None:
    error = BaselineMetric.of(of_samples(180)).standard_error
    assert error is not None
    for tolerance, warned in ((2.01 * error, False), (1.99 * error, True)):
        found = sampled(lambda rate: 0, maximal_absolute_accuracy_degradation=tolerance).run()
        messages = [event.message for event in found.recorder.of(Warned)]
        assert bool(messages) == warned
    assert "of 200 samples, less than two standard errors of the metric" in messages[0]
    kinds = [type(event) for event in found.recorder.events]
    assert kinds[:2] == [SearchStarted, Warned]
