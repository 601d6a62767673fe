"""Progress in a log: stable lines that can be grepped."""

from __future__ import annotations

import io
import math
import re

from accaware.report.progress.line_progress import LineProgress
from accaware.search import AdaptiveParams, EarlyExitParams
from accaware.search.events import GenerationFinished, RankingStarted
from tests.runners.fake import Script, adaptive, early_exit, search


def _log(
    metric: Script,
    params: AdaptiveParams | EarlyExitParams,
    *,
    baseline: float = 1.0,
    higher_is_better: bool = True,
    loss: Script = lambda rate, age: None,
) -> list[str]:
    stream = io.StringIO()
    with LineProgress(stream, "top1") as progress:
        search(
            metric,
            params,
            baseline=baseline,
            higher_is_better=higher_is_better,
            loss=loss,
            observers=[progress],
        ).run()
    return re.sub(r", \d+\.\d s$", ", 0.0 s", stream.getvalue(), flags=re.MULTILINE).splitlines()


def test_a_whole_search() -> None:
    log = _log(
        lambda rate, age: 0.98 - rate / 10 + age / 1000,
        adaptive(
            patience_epochs=2,
            minimal_compression_rate_step=0.1,
            maximal_absolute_accuracy_degradation=0.075,
        ),
        loss=lambda rate, age: 0.25 / age,
    )
    assert log == [
        (
            "baseline: top1 1.0000; within budget is at least 0.9250; rates up to 95.0 %; "
            "at most 27 epochs"
        ),
        "epoch 1/1 of trial 0: rate 50.0 %, loss 0.25, top1 0.9310, 0.0 s",
        (
            "trial 0: target 50.0 %, rate 50.0 %, 1 epoch, top1 0.9310, "
            "drop 0.0690 (6.9 %), margin 0.0060, within budget"
        ),
        "epoch 1/2 of trial 1: rate 60.0 %, loss 0.25, top1 0.9210, 0.0 s",
        "epoch 2/2 of trial 1: rate 60.0 %, loss 0.125, top1 0.9220, 0.0 s",
        (
            "trial 1: target 60.0 %, rate 60.0 %, 2 epochs, top1 0.9220, "
            "drop 0.0780 (7.8 %), margin -0.0030, beyond the limit"
        ),
    ]


def test_a_failed_trial_says_why() -> None:
    log = _log(lambda rate, age: math.nan if rate > 0.5 else 1, adaptive(), baseline=1.0)
    failed = next(line for line in log if line.startswith("trial 1:"))
    assert failed.endswith("top1 -, drop -, margin -, failed: the metric is nan in epoch 2")


def test_lower_is_better_and_epochs_without_validation() -> None:
    log = _log(
        lambda rate, age: 1 + rate,
        adaptive(
            initial_training_phase_epochs=2,
            validate_every_n_epochs=2,
            maximal_absolute_accuracy_degradation=0.45,
            minimal_compression_rate_step=0.1,
        ),
        higher_is_better=False,
    )
    assert log[0] == (
        "baseline: top1 1.0000; within budget is at most 1.4500; rates up to 95.0 %; "
        "at most 15 epochs"
    )
    assert log[1].startswith("epoch 1/2 of trial 0: rate 50.0 %, loss -, top1 -,")
    assert "drop 0.5000 (50.0 %), margin -0.0500, beyond the limit" in log[3]


def test_a_rate_that_is_known_already_costs_a_line_only() -> None:
    log = _log(lambda rate, age: 1.0 if rate < 0.6 else 0.0, adaptive(), baseline=1.0)
    assert [line for line in log if line.startswith("rate ")] == [
        "rate 60.0 %: already answered by trial 1"
    ]


def test_the_untouched_model_answers_for_rate_zero() -> None:
    log = _log(lambda rate, age: 0.0, adaptive(initial_compression_rate_step=0.5))
    assert "rate 0.0 %: already answered by the untouched model" in log


def test_early_exit_validates_before_it_trains() -> None:
    log = _log(lambda rate, age: 0.8 + age / 20, early_exit())
    assert log[1].startswith("epoch 0/10 of trial 0: rate 50.0 %, loss -, top1 0.8000")
    assert log[2].startswith("epoch 1/10 of trial 0")
    assert "2 epochs, top1 0.9000" in log[-1]


def test_a_ranking_that_is_learned_says_so_now_and_then() -> None:
    def log(generations: int) -> list[str]:
        stream = io.StringIO()
        progress = LineProgress(stream, "top1")
        progress.notify(RankingStarted(generations))
        for number in range(1, generations + 1):
            best = None if number == 1 else 90.0 + number / 7
            progress.notify(GenerationFinished(number, generations, math.nan, best))
        return stream.getvalue().splitlines()

    assert log(3) == [
        "ranking: to be learned from 3 candidates",
        "ranking: candidate 1/3, best top1 -",
        "ranking: candidate 2/3, best top1 90.29",
        "ranking: candidate 3/3, best top1 90.43",
    ]
    long = log(1000)
    assert len(long) == 21
    assert long[-1].startswith("ranking: candidate 1000/1000, best top1 ")
