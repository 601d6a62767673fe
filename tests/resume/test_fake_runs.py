"""Searches that are stopped anywhere and gone on with find what they would have found."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accaware.errors import JournalError, UnkeepableError, UsageError
from accaware.search import SearchResult, StopReason
from accaware.search.events import EpochFinished, SearchFinished
from accaware.search.params import Confirmation
from accaware.search.replay.replay import Replay
from accaware.search.replay.resumable import SNAPSHOT, ResumableSearch
from accaware.search.schedules.schedules import Adaptive, Exponential
from tests.resume.mortal import Disk, Fate, Killed, Life, MortalSnapshots, World, live
from tests.runners.base import Config
from tests.runners.benches import several
from tests.runners.fake import adaptive, early_exit, holds_up_to, search
from tests.search.test_confirmation import of_samples
from tests.search.test_properties import World as Levels
from tests.search.test_properties import layouts, params, reaches, starts, worlds

WORLDS = {
    "adaptive": World(holds_up_to(0.72), adaptive(patience_epochs=2)),
    "several epochs of schedule": World(
        holds_up_to(0.65),
        adaptive(initial_training_phase_epochs=4, validate_every_n_epochs=2, patience_epochs=3),
        schedule=Exponential(0.1, 0.5, 3),
    ),
    "no initial phase": World(
        holds_up_to(0.22), adaptive(initial_training_phase_epochs=0, patience_epochs=2)
    ),
    "nothing within budget": World(
        lambda rate, age: 0.5 - rate / 10, adaptive(minimal_compression_rate=0.2)
    ),
    "NaN above a rate": World(
        lambda rate, age: math.nan if rate > 0.6 else 1.0, adaptive(patience_epochs=2)
    ),
    "epochs are spent": World(
        holds_up_to(0.9), adaptive(patience_epochs=3, maximal_total_epochs=8)
    ),
    "a ramp": World(
        lambda rate, age: 1.0 - 2 * max(rate - 0.3, 0.0) + 0.15 * min(age, 3),
        adaptive(
            strategy="ramp",
            patience_epochs=4,
            minimal_compression_rate_step=0.08,
            trial_learning_rate="search",
            polish=True,
            maximal_compression_rate=0.75,
        ),
    ),
    "several trials at a time": World(
        lambda rate, age: 1.0 - 2 * max(rate - 0.3, 0.0) + 0.15 * min(age, 3),
        several(
            3,
            patience_epochs=3,
            minimal_compression_rate_step=0.08,
            polish=True,
            maximal_compression_rate=0.6,
        ),
        layout=lambda rate: math.floor(rate * 32) / 32,
    ),
    "a ramp along a cosine": World(
        lambda rate, age: 1.0 - rate + 0.05 * age,
        adaptive(strategy="ramp", patience_epochs=3, trial_learning_rate="cosine"),
        layout=lambda rate: math.ceil(rate * 8) / 8,
    ),
    "a learning rate that is looked for": World(
        lambda rate, age: 0.8 - rate / 4 + 0.07 * age,
        adaptive(
            patience_epochs=2,
            trial_learning_rate="search",
            initial_training_phase_epochs=0,
            maximal_compression_rate=0.2,
        ),
    ),
    "a descent of a ramp": World(
        lambda rate, age: 1.0 if rate < 0.5 and age > 1 else 0.8,
        adaptive(
            strategy="ramp",
            patience_epochs=2,
            minimal_compression_rate_step=0.2,
            maximal_compression_rate=0.45,
            confirmation=Confirmation(),
        ),
        confirmation=holds_up_to(0.3),
    ),
    "stopped by the user": World(
        lambda rate, age: 1.0 if rate < 0.6 else 0.95,
        adaptive(patience_epochs=2),
        stop=lambda metric: metric < 1.0,
    ),
    "layouts that round": World(
        holds_up_to(0.7), adaptive(), layout=lambda rate: math.floor(rate * 8) / 8
    ),
    "early exit": World(
        lambda rate, age: 0.8 + age / 40, early_exit(), schedule=Exponential(0.1, 0.5, 3)
    ),
    "early exit with an adaptive schedule": World(
        lambda rate, age: 1.0, early_exit(), schedule=Adaptive(0.1, 0.5, patience=2)
    ),
    "confirmation that refuses some": World(
        holds_up_to(0.72), adaptive(confirmation=Confirmation()), confirmation=holds_up_to(0.66)
    ),
    "confirmation that refuses all": World(
        holds_up_to(0.72), adaptive(confirmation=Confirmation()), confirmation=lambda *_: 0.5
    ),
    "a confidence is required": World(
        lambda rate, age: of_samples(180 - round(20 * rate)),
        adaptive(maximal_absolute_accuracy_degradation=0.08, required_confidence=0.9),
        baseline=of_samples(180),
    ),
    "early exit that fails": World(lambda rate, age: math.nan if age > 3 else 0.5, early_exit()),
}


def outcome(life: Life) -> Any:
    """All that has to be the same; NaN equals NaN in it."""
    return repr(timeless(life.result)), vars(life.model)


def timeless(result: SearchResult) -> SearchResult:
    trials = tuple(
        replace(trial, epochs=tuple(replace(epoch, seconds=0.0) for epoch in trial.epochs))
        for trial in result.trials
    )
    return replace(result, trials=trials)


def go_on_until_the_end(world: World, disk: Disk) -> Life:
    return live(world, disk)


@pytest.mark.parametrize("name", WORLDS)
def test_killed_at_any_moment_it_ends_the_same(name: str) -> None:
    world = WORLDS[name]
    fate = Fate()
    undisturbed = live(world, Disk(), fate)
    assert fate.moments > 20
    for moment in range(1, fate.moments + 1):
        disk = Disk()
        with pytest.raises(Killed):
            live(world, disk, Fate(moment))
        assert outcome(live(world, disk)) == outcome(undisturbed), moment


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("stride", [13, 29, 64])
def test_killed_again_and_again_it_ends_the_same(name: str, stride: int) -> None:
    world = WORLDS[name]
    undisturbed = live(world, Disk())
    disk, lives = Disk(), 0
    while True:
        lives += 1
        # A little longer each time, or an epoch that takes longer than a life would never end.
        try:
            ended = live(world, disk, Fate(stride + lives))
        except Killed:
            continue
        break
    assert lives > 1
    assert outcome(ended) == outcome(undisturbed)


@pytest.mark.parametrize("name", WORLDS)
def test_where_the_last_snapshot_is_lost_the_one_before_it_does(name: str) -> None:
    world = WORLDS[name]
    undisturbed = live(world, Disk())
    fate = Fate()
    live(world, Disk(), fate)
    for moment in range(1, fate.moments + 1, 3):
        disk = Disk()
        with pytest.raises(Killed):
            live(world, disk, Fate(moment))
        if disk.snapshots:
            del disk.snapshots[list(disk.snapshots)[-1]]
        if disk.snapshots:
            assert outcome(live(world, disk)) == outcome(undisturbed), moment


@given(worlds, params(), starts, layouts, reaches, st.integers(1, 400))
def test_for_any_search_and_any_moment(
    levels: Levels, given_params: Any, start: float, layout: Any, reach: float, moment: int
) -> None:
    given_params = replace(given_params, maximal_total_epochs=12)
    world = World(
        levels, given_params, schedule=Exponential(0.0, start, 1), layout=layout, maximal=reach
    )
    undisturbed = live(world, Disk())
    disk = Disk()
    try:
        live(world, disk, Fate(moment))
    except Killed:
        assert outcome(live(world, disk)) == outcome(undisturbed)


def test_no_epoch_is_trained_twice_but_the_one_at_hand() -> None:
    world = WORLDS["adaptive"]
    disk = Disk()
    trained = []
    fates = [Fate(90), Fate(60), None]
    for fate in fates:
        epochs: list[int] = []
        runner_epochs(world, disk, fate, epochs)
        trained.append(epochs)
    flat = [epoch for epochs in trained for epoch in epochs]
    assert sorted(set(flat)) == list(range(max(flat) + 1))
    for before, after in itertools.pairwise(trained):
        assert after[0] >= before[-1]


def runner_epochs(world: World, disk: Disk, fate: Fate | None, epochs: list[int]) -> None:
    """Append the epochs that are trained, as the journal and the loss function see them."""

    def loss(rate: float, age: int) -> float:
        done = [call for call, _ in disk.journal if call == "train_epoch"]
        epochs.append(len(done))
        return 0.5

    with contextlib.suppress(Killed):
        live(replace(world, loss=loss), disk, fate)


def test_events_are_told_again_with_their_times() -> None:
    world = WORLDS["adaptive"]
    disk = Disk()
    with pytest.raises(Killed):
        live(world, disk, Fate(200))
    ended = live(world, disk)
    kinds = [type(event) for event in ended.recorder.events]
    assert kinds == [type(event) for event in live(world, Disk()).recorder.events]
    clocks = [answer for call, answer in disk.journal if call == "clock"]
    told = [event.epoch.seconds for event in ended.recorder.of(EpochFinished)]
    pairs = zip(clocks[::2], clocks[1::2], strict=True)
    assert told == [after - before for before, after in pairs]


def test_what_is_on_the_disk_stays_bounded() -> None:
    params = adaptive(
        patience_epochs=4, initial_compression_rate_step=0.03, maximal_compression_rate=1.0
    )
    world = World(lambda rate, age: 1 + age / 100, params)
    disk = Disk()
    most = 0

    class Watched(Fate):
        def moment(self) -> None:
            nonlocal most
            super().moment()
            most = max(most, len(disk.checkpoints) + len(disk.snapshots))

    ended = live(world, disk, Watched())
    assert len(ended.result.trials) > 12
    # The baseline model, two trials within budget and the one at hand, and of both what a save
    # or a discard has just replaced; two snapshots and the one that is being written.
    assert most == 9


def test_a_recording_of_another_search_is_refused() -> None:
    disk = Disk()
    with pytest.raises(Killed):
        live(WORLDS["adaptive"], disk, Fate(150))
    at = next(at for at, (call, _) in enumerate(disk.journal) if call == "validate")
    disk.journal[at] = ("asks_to_stop", False)
    with pytest.raises(JournalError, match="has an answer to asks_to_stop where validate is asked"):
        live(WORLDS["adaptive"], disk)


def test_a_raised_number_of_epochs_holds_from_the_last_snapshot_on() -> None:
    short = adaptive(patience_epochs=3, maximal_total_epochs=5)
    world = World(holds_up_to(0.9), short)
    long = replace(world, params=replace(short, maximal_total_epochs=9))
    fate = Fate()
    live(world, Disk(), fate)
    disk = Disk()
    with pytest.raises(Killed):
        live(world, disk, Fate(fate.moments - 30))
    assert sum(call == SNAPSHOT for call, _ in disk.recorded()) == 4
    ended = live(long, disk)
    assert ended.result.epochs == 9
    # Once more from the journal alone, both parts of it.
    assert live(long, Disk(disk.recorded(), disk.checkpoints, disk.snapshots)).result.epochs == 9


def test_a_longer_patience_is_for_coming_trials() -> None:
    params = adaptive(patience_epochs=2, minimal_compression_rate_step=0.1)
    world = World(holds_up_to(0.75), params)
    disk = Disk()
    fate = Fate()
    live(world, Disk(), fate)
    with pytest.raises(Killed):
        live(world, disk, Fate(fate.moments // 2))
    patient = replace(world, params=replace(params, patience_epochs=4))
    ended = live(patient, disk)
    lengths = [len(trial.epochs) for trial in ended.result.trials]
    assert lengths == [1, 2, 4, 4]


def test_of_trials_side_by_side_no_epoch_is_trained_again_but_that_at_hand() -> None:
    world = WORLDS["several trials at a time"]
    fate = Fate()
    live(world, Disk(), fate)
    undisturbed, disturbed = [], []

    def loss(rate: float, age: int) -> float:
        trained.append((rate, age))
        return 0.5

    for moment in range(60, fate.moments, 97):
        disk = Disk()
        trained = disturbed
        trained.clear()
        with pytest.raises(Killed):
            live(replace(world, loss=loss), disk, Fate(moment))
        live(replace(world, loss=loss), disk)
        trained = undisturbed
        trained.clear()
        live(replace(world, loss=loss), Disk())
        assert len(undisturbed) <= len(disturbed) <= len(undisturbed) + 1, moment


def test_trials_side_by_side_begin_and_end_with_a_search() -> None:
    world = WORLDS["several trials at a time"]
    disk = Disk()
    with pytest.raises(Killed):
        live(world, disk, Fate(150))
    with pytest.raises(UsageError, match="parallel_trials can't be raised from 1 or lowered"):
        live(replace(world, params=replace(world.params, parallel_trials=1)), disk)


def test_another_confirmation_is_refused() -> None:
    disk = Disk()
    with pytest.raises(Killed):
        live(WORLDS["adaptive"], disk, Fate(150))
    asked = replace(
        WORLDS["adaptive"],
        params=adaptive(patience_epochs=2, confirmation=Confirmation()),
        confirmation=holds_up_to(0.7),
    )
    with pytest.raises(UsageError, match="confirmation can't be changed"):
        live(asked, disk)


def test_of_a_measurement_the_numbers_are_recorded_and_not_the_samples() -> None:
    disk = Disk()
    live(WORLDS["a confidence is required"], disk)
    recorded = [answer for call, answer in disk.journal if call == "validate"]
    assert recorded
    assert all(set(answer) == {"value", "standard_error"} for answer in recorded)
    assert len(json.dumps(recorded[0])) < 100


def test_another_mode_is_refused() -> None:
    disk = Disk()
    with pytest.raises(Killed):
        live(WORLDS["adaptive"], disk, Fate(150))
    with pytest.raises(Exception, match="needs mode adaptive_compression_level"):
        live(replace(WORLDS["adaptive"], params=early_exit()), disk)


def test_a_state_that_can_not_be_kept_is_told_once_and_the_run_goes_on() -> None:
    class Hopeless(MortalSnapshots):
        def save(self, name: str) -> str:
            raise UnkeepableError("a lambda")

    found = search(holds_up_to(0.65))
    told: list[str] = []
    answers: list[str] = []
    done = ResumableSearch(
        Config(adaptive()),
        found.controller,
        found.runner,
        1.0,
        replay=Replay(record=lambda call, answer: answers.append(call)),
        snapshots=Hopeless(found.runner, Disk(), Fate()),
        warn=told.append,
    ).run()
    assert done.within_budget
    assert told == ["if this run is interrupted it will have to start over: a lambda"]
    assert SNAPSHOT not in answers


def test_behind_a_nan_there_is_no_snapshot() -> None:
    """Or a mended plugin could not try that epoch again."""
    disk = Disk()
    ended = live(WORLDS["early exit that fails"], disk)
    assert ended.result.stop_reason is StopReason.FAILED
    marks = [answer["name"] for call, answer in disk.journal if call == SNAPSHOT]
    assert marks == ["snapshot-0", "snapshot-1", "snapshot-2", "snapshot-3"]
    mended = replace(WORLDS["early exit that fails"], metric=lambda rate, age: age / 5)
    ended = live(mended, disk)
    assert ended.result.stop_reason is StopReason.WITHIN_BUDGET
    assert ended.recorder.of(SearchFinished)
