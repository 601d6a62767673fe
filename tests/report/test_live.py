"""Progress on a terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from accaware.report.progress.live_progress import LiveProgress
from accaware.search import AccuracyBudget, Epoch, TrialPhase
from accaware.search.events import (
    BatchFinished,
    EpochFinished,
    EpochStarted,
    GenerationFinished,
    RankingStarted,
    SearchStarted,
    TrialStarted,
    Waited,
)
from tests.runners.fake import Script, adaptive, holds_up_to, search


def _terminal(height: int = 40, width: int = 110) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        color_system="standard",
        legacy_windows=False,
        highlight=False,
        _environ={},
    )


def _written(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def _text(shown: str) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)


def _rows(text: str) -> list[list[str]]:
    """The cells of the lines that begin with a trial's number."""
    lines = (line.strip() for line in text.splitlines())
    return [re.split(r" {2,}", line) for line in lines if re.match(r"\d+ +\d+\.\d %", line)]


def _drawn(progress: LiveProgress) -> str:
    """What the screen would show now."""
    console = _terminal()
    console.print(progress.screen())
    return _text(_written(console))


SCRIPT: Script = lambda rate, age: 0.98 - rate / 10 + age / 1000  # noqa: E731


def _params() -> Any:
    return adaptive(
        patience_epochs=2,
        minimal_compression_rate_step=0.1,
        maximal_absolute_accuracy_degradation=0.075,
    )


def test_the_whole_table_stays_with_colours() -> None:
    console = _terminal()
    with LiveProgress(console, "top1") as progress:
        search(SCRIPT, _params(), observers=[progress]).run()
    last = _written(console).rpartition("trial")[2]
    assert _rows(_text(last)) == [
        ["0", "50.0 %", "50.0 %", "1", "0.9310", "0.0690 (6.9 %)", "0.0060", "within budget"],
        ["1", "60.0 %", "60.0 %", "2", "0.9220", "0.0780 (7.8 %)", "-0.0030", "beyond the limit"],
    ]
    assert "\x1b[32mwithin budget" in last
    assert "\x1b[33mbeyond the limit" in last
    assert "baseline: top1 1.0000; within budget is at least 0.9250" in _text(_written(console))


def test_the_running_trial_is_shown_as_it_goes() -> None:
    console = _terminal()
    progress = LiveProgress(console, "top1")
    seen: list[list[list[str]]] = []

    def train(*_: Any, **__: Any) -> None:
        seen.append(_rows(_drawn(progress)))

    with progress:
        search(SCRIPT, _params(), observers=[progress], train_epoch_fn=train).run()
    assert [rows[-1] for rows in seen] == [
        ["0", "50.0 %", "0.0 %", "0/1", "-", "-", "-", "running"],
        ["1", "60.0 %", "60.0 %", "0/2", "-", "-", "-", "running"],
        ["1", "60.0 %", "60.0 %", "1/2", "0.9210", "0.0790 (7.9 %)", "-0.0040", "running"],
    ]
    assert seen[-1][0][-1] == "within budget"


def test_trials_side_by_side_have_a_row_each_and_their_workers() -> None:
    console = _terminal()
    progress = LiveProgress(console, "top1")
    budget = AccuracyBudget(0.9, 0.1)
    with progress:
        progress.notify(SearchStarted(budget, 0.9, 100))
        for number, rate in ((3, 0.4), (4, 0.5)):
            begun = TrialStarted(number, TrialPhase.SEARCH, rate, rate, 5, 1.0, 2, f"w{number}")
            progress.notify(begun)
        for trial, metric in ((4, 0.85), (3, 0.7)):
            progress.notify(EpochStarted(trial, 9))
            epoch = Epoch(number=9, compression_rate=0.4, fully_compressed=True, metric=metric)
            progress.notify(EpochFinished(trial, epoch))
        # The trial goes on elsewhere.
        progress.notify(TrialStarted(3, TrialPhase.SEARCH, 0.4, 0.4, 5, 1.0, 2, "w9"))
        progress.notify(Waited())
        shown = _drawn(progress)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert any(line.startswith("trial worker target rate epochs top1") for line in lines)
    assert any(line.startswith("3 w9 40.0 % 40.0 % 1/5 0.7000 ") for line in lines)
    assert any(line.startswith("4 w4 50.0 % 40.0 % 1/5 0.8500 ") for line in lines)


def test_the_bar_names_what_is_going_on_and_starts_anew_for_each() -> None:
    console = _terminal()
    progress = LiveProgress(console, "top1")
    bars: list[str] = []

    def batches(activity: str, total: int | None) -> None:
        for done in (1, 2):
            progress.notify(BatchFinished(activity, done, total))
            bars.append(_drawn(progress).rstrip().splitlines()[-1].strip())

    def train(*_: Any, **__: Any) -> None:
        batches("train", 4)

    def validate(*_: Any, **__: Any) -> float:
        batches("validate", None)
        return 1.0

    with progress:
        batches("validate", 3)
        params = adaptive(initial_training_phase_epochs=2, maximal_compression_rate=0.5)
        search(
            SCRIPT, params, observers=[progress], train_epoch_fn=train, validate_fn=validate
        ).run()
    plain = [re.sub(r"[^\x20-\x7e]+| {2,}", " ", bar) for bar in bars]
    shown = [
        re.sub(r"( trial <= [\d:]+, search <=)? +[\d:-]+$|-+", "", bar).replace("  ", " ").strip()
        for bar in plain
    ]
    assert [re.sub(r" +", " ", bar) for bar in shown] == [
        "baseline: validating 1/3",
        "baseline: validating 2/3",
        "trial 0, epoch 1/2: training 1/4",
        "trial 0, epoch 1/2: training 2/4",
        "trial 0, epoch 1/2: validating 1/?",
        "trial 0, epoch 1/2: validating 2/?",
        "trial 0, epoch 2/2: training 1/4",
        "trial 0, epoch 2/2: training 2/4",
        "trial 0, epoch 2/2: validating 1/?",
        "trial 0, epoch 2/2: validating 2/?",
        "validating 1/?",
        "validating 2/?",
    ]


def _begun(number: int, worker: str | None = None) -> TrialStarted:
    return TrialStarted(number, TrialPhase.SEARCH, 0.5, 0.5, 5, 1.0, None, worker)


def _trained(number: int, seconds: float) -> Epoch:
    return Epoch(
        number=number, compression_rate=0.5, fully_compressed=True, metric=0.8, seconds=seconds
    )


@pytest.mark.parametrize("width", [80, 200])
def test_the_bar_tells_what_the_trial_and_the_search_may_still_take(width: int) -> None:
    console = _terminal(width=width)
    progress = LiveProgress(console, "top1")

    def bar() -> str:
        screen = _terminal(width=width)
        screen.print(progress.screen())
        return _text(_written(screen)).splitlines()[-1].strip()

    progress.notify(SearchStarted(AccuracyBudget(0.9, 0.1), 0.9, 31))
    progress.notify(_begun(0))
    progress.notify(EpochStarted(0, 1))
    progress.notify(BatchFinished("train", 7, 391))
    assert bar().startswith("trial 0, epoch 1/5: training ")
    assert "<=" not in bar()
    # By the clock no second passes here; the epoch's time is the recorded one.
    progress.notify(EpochFinished(0, _trained(1, 3601.0)))
    progress.notify(EpochStarted(0, 2))
    progress.notify(BatchFinished("train", 8, 391))
    assert bar().startswith("trial 0, epoch 2/5: training ")
    assert bar().endswith("8/391 trial <= 4:00:04, search <= 30:00:30")


def test_trials_on_other_workers_have_a_bar_of_their_epochs() -> None:
    progress = LiveProgress(_terminal(), "top1")
    progress.notify(SearchStarted(AccuracyBudget(0.9, 0.1), 0.9, 101))
    for number in (3, 4):
        progress.notify(_begun(number, f"w{number}"))
    assert re.search(r"^trials 3 and 4: epochs .* 0/10 ", _drawn(progress), re.MULTILINE)
    progress.notify(EpochStarted(3, 1))
    progress.notify(EpochFinished(3, _trained(1, 3600.0)))
    progress.notify(Waited())
    last = _drawn(progress).splitlines()[-1]
    # Trial 4, which has begun no epoch, is as slow as the other one is known to be.
    assert re.match(r"trials 3 and 4: epochs .* 1/10 trials <= 5:00:00, search <= 100:00:00", last)


def test_the_bar_tells_of_a_ranking_that_is_learned() -> None:
    progress = LiveProgress(_terminal(), "top1")
    bars: list[str] = []

    def batch(activity: str) -> None:
        progress.notify(BatchFinished(activity, 1, 4))
        bars.append(_drawn(progress).split("  ")[0].partition("1/4")[0].rstrip("━╸╺- "))

    progress.notify(RankingStarted(2))
    batch("train")
    batch("validate")
    progress.notify(GenerationFinished(1, 2, 91.23456, 91.23456))
    batch("train")
    progress.notify(GenerationFinished(2, 2, 90.0, 91.23456))
    batch("adapt")
    assert [bar.partition(" ━")[0] for bar in bars] == [
        "ranking, candidate 1/2: training",
        "ranking, candidate 1/2: validating",
        "ranking, candidate 2/2 (best 91.23): training",
        "adapting batch norm",
    ]


def test_a_small_screen_shows_the_latest_trials_and_the_bar() -> None:
    console = _terminal(height=10)
    progress = LiveProgress(console, "top1")
    screens: list[str] = []

    def train(*_: Any, **__: Any) -> None:
        progress.notify(BatchFinished("train", 1, 2))
        screens.append(_drawn(progress))

    params = adaptive(initial_compression_rate_step=0.05)
    with progress:
        search(holds_up_to(1), params, observers=[progress], train_epoch_fn=train).run()
    assert len(screens) == 10
    last = screens[-1].splitlines()
    assert len(last) < 10
    assert [row[0] for row in _rows(screens[-1])] == ["5", "6", "7", "8", "9"]
    assert "5 earlier not shown" in screens[-1]
    assert "epoch 1/1: training" in last[-1]
    final = _written(console).rpartition("trial")[2]
    assert [row[0] for row in _rows(_text(final))] == [str(number) for number in range(10)]


def test_eighty_columns_are_enough() -> None:
    wide, narrow = _terminal(width=200), _terminal(width=80)
    for console in (wide, narrow):
        with LiveProgress(console, "top1") as progress:
            search(SCRIPT, _params(), observers=[progress]).run()
    tables = [_text(_written(console).rpartition("trial")[2]) for console in (wide, narrow)]
    assert tables[0] == tables[1]
    assert "beyond the limit" in tables[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_trial_that_was_cut_off_is_shown_as_stopped(error: type[BaseException]) -> None:
    console = _terminal()

    def train(controller: Any, model: Any, **_: Any) -> None:
        if model.rate > 0.5:
            raise error

    with pytest.raises(error), LiveProgress(console, "top1") as progress:
        search(SCRIPT, _params(), observers=[progress], train_epoch_fn=train).run()
    final = _text(_written(console).rpartition("trial")[2])
    assert [(row[0], row[-1]) for row in _rows(final)] == [("0", "within budget"), ("1", "stopped")]


def test_square_brackets_are_no_markup() -> None:
    console = _terminal()
    with LiveProgress(console, "top[bold]1") as progress:
        search(SCRIPT, _params(), observers=[progress]).run()
    assert _text(_written(console)).count("top[bold]1") >= 2


def test_nothing_to_tell_leaves_nothing_on_the_screen() -> None:
    console = _terminal()
    with LiveProgress(console, "top1"):
        pass
    assert _text(_written(console)).strip() == ""
