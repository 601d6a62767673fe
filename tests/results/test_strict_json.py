"""Our values as JSON that every parser reads."""

from __future__ import annotations

import json
import math

import pytest

from accaware.results import strict_json
from accaware.results.sizes import Size
from accaware.search.result import SearchStatus, StopReason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_null(value: float) -> None:
    assert strict_json.line({"metric": [value]}) == '{"metric": [null]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Size(2, 1), {"dense": 2, "compressed": 1}),
        (SearchStatus.WITHIN_BUDGET, "within_budget"),
        (StopReason.STEP_BELOW_MINIMUM, "step_below_minimum"),
        (StopReason.INTERRUPTED, "interrupted"),
        ((1, (2.5, None)), [1, [2.5, None]]),
        ({1: True}, {"1": True}),
    ],
)
def test_values_become_plain(value: object, expected: object) -> None:
    assert strict_json.jsonable(value) == expected
    assert json.loads(strict_json.document(value)) == expected


def test_a_line_is_one_line_and_keeps_letters() -> None:
    assert strict_json.line({"reason": "ä\nb"}) == '{"reason": "ä\\nb"}'
