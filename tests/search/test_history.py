"""What the history answers, beyond what a whole search shows."""

from __future__ import annotations

from accaware.search import AccuracyBudget, Epoch, History, Trial, TrialPhase, TrialState
from accaware.search.history import Step
from accaware.search.trial import Checkpoint

BUDGET = AccuracyBudget(baseline=0.9, tolerance=0.1)


def history(*trials: tuple[float, float, float]) -> History:
    """Trials of (target, achieved rate, metric), all of them with their weights kept."""
    found = History()
    for number, (target, rate, metric) in enumerate(trials):
        within = BUDGET.admits(metric)
        epoch = Epoch(number=number + 1, compression_rate=rate, fully_compressed=True)
        trial = Trial(
            number=number,
            phase=TrialPhase.SEARCH,
            target_rate=target,
            compression_rate=rate,
            epochs=(epoch,),
            metric=metric,
            best_epoch=epoch.number,
            state=TrialState.WITHIN_BUDGET if within else TrialState.NOT_WITHIN_BUDGET,
            reason="",
            checkpoint=Checkpoint(f"trial-{number}"),
        )
        found = found.with_trial(trial)
    return found


def ranks(found: History) -> list[int]:
    return [trial.number for trial in found.ranked(BUDGET)]


def test_the_highest_achieved_rate_comes_first_and_of_equal_rates_the_better_metric() -> None:
    assert ranks(history((0.5, 0.5, 0.9), (0.7, 0.6, 0.82), (0.6, 0.6, 0.84))) == [2, 1, 0]


def test_best_efforts_come_after_by_metric_and_of_equal_metrics_the_higher_rate() -> None:
    found = history((0.8, 0.8, 0.5), (0.7, 0.7, 0.7), (0.6, 0.6, 0.7), (0.2, 0.2, 0.85))
    assert ranks(found) == [3, 1, 2, 0]


def test_nothing_is_known_between_the_highest_rate_within_budget_and_the_lowest_beyond_it() -> None:
    found = history((0.5, 0.5, 0.85), (0.7, 0.7, 0.6), (0.6, 0.6, 0.7))
    assert found.known(0.55) is None
    assert found.known(0.5) == Step(0.5, 0)
    assert found.known(0.2) == Step(0.2, 0)
    assert found.known(0.6) == Step(0.6, 2)
    assert found.known(0.9) == Step(0.9, 2)


def test_without_a_trial_only_rate_zero_is_known() -> None:
    assert History().known(0.0) == Step(0.0, None)
    assert History().known(0.01) is None


def test_an_answer_that_cost_no_epoch_narrows_the_bracket_too() -> None:
    found = history((0.5, 0.5, 0.85)).with_known(Step(0.55, 0))
    assert found.known(0.52) == Step(0.52, 0)
