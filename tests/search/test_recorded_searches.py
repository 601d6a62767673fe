"""The step search does what it always did: every call of its runner, as recorded once.

The recordings are of the first version that had them; a rule of the search that changes on
purpose changes them, and says so in the changelog.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accaware.search.schedules.schedules import Exponential
from tests.runners.fake import Search, adaptive, early_exit, holds_up_to, search

RECORDED = Path(__file__).with_name("recorded_searches.json")


def learns(rate: float, age: int) -> float:
    """Falls with the rate, more steeply the higher it is, and recovers with each epoch."""
    return 1.0 - rate**3 * 0.5 + 0.03 * min(age, 4)


def stumbles(rate: float, age: int) -> float:
    return math.nan if 0.62 < rate < 0.68 and age == 2 else learns(rate, age)


SEARCHES: dict[str, Callable[[], Search]] = {
    "up and back": lambda: search(holds_up_to(0.77)),
    "to the maximal rate": lambda: search(
        holds_up_to(1.0), adaptive(maximal_compression_rate=0.83)
    ),
    "several epochs": lambda: search(
        learns, adaptive(initial_training_phase_epochs=3, patience_epochs=5)
    ),
    "a trial ends when it has passed": lambda: search(
        learns,
        adaptive(
            initial_training_phase_epochs=3,
            patience_epochs=5,
            stop_trial_when_within_budget=True,
            validate_every_n_epochs=2,
        ),
    ),
    "a schedule": lambda: search(
        learns,
        adaptive(initial_training_phase_epochs=6, patience_epochs=3),
        schedule=Exponential(target=0.5, init=0.0, duration=4),
    ),
    "a coarse layout": lambda: search(
        learns, adaptive(patience_epochs=4), layout=lambda rate: math.ceil(rate * 16) / 16
    ),
    "a trial that fails": lambda: search(stumbles, adaptive(patience_epochs=4)),
    "without an initial phase": lambda: search(
        learns,
        adaptive(
            initial_training_phase_epochs=0,
            patience_epochs=3,
            initial_compression_rate_step=0.3,
            compression_rate_step_reduction_factor=0.3,
            lr_reduction_factor=0.7,
        ),
    ),
    "lower is better, few epochs": lambda: search(
        lambda rate, age: -learns(rate, age),
        adaptive(patience_epochs=3, maximal_total_epochs=11),
        baseline=-1.0,
        higher_is_better=False,
    ),
    "early exit": lambda: search(
        learns,
        early_exit(validate_every_n_epochs=2),
        schedule=Exponential(target=0.7, init=0.1, duration=5),
    ),
}


def played(name: str) -> list[list[Any]]:
    return [list(call) for call in SEARCHES[name]().run().runner.calls]


@pytest.mark.parametrize("name", SEARCHES)
def test_every_call_is_as_recorded(name: str) -> None:
    assert json.loads(json.dumps(played(name))) == json.loads(RECORDED.read_text())[name]


def test_every_recording_is_of_a_search() -> None:
    assert json.loads(RECORDED.read_text()).keys() == SEARCHES.keys()
