"""Values come back from the JSON that was made of them."""

from __future__ import annotations

import json
import math

import pytest

from accaware.results import strict_json
from accaware.results.from_json import structured
from accaware.search.trial import Epoch, Trial, TrialPhase, TrialState
from tests.runners.fake import adaptive, holds_up_to, search


def test_trials_of_a_search_come_back() -> None:
    trials = search(holds_up_to(0.65), adaptive()).run().result.trials
    again = [structured(Trial, json.loads(strict_json.line(trial))) for trial in trials]
    assert again == list(trials)
    assert [one.within_budget for one in again] == [one.within_budget for one in trials]
    assert {type(one.state) for one in again} == {TrialState}
    assert {type(one.phase) for one in again} == {TrialPhase}


def test_what_was_not_finite_is_none() -> None:
    epoch = Epoch(number=1, compression_rate=0.5, fully_compressed=True, seconds=math.nan)
    assert structured(Epoch, json.loads(strict_json.line(epoch))).seconds is None


@pytest.mark.parametrize("content", [{}, [], None, 1, {"number": 1}])
def test_what_is_none_is_refused(content: object) -> None:
    with pytest.raises((KeyError, TypeError)):
        structured(Epoch, content)
