"""A replay gives recorded answers, then live ones."""

from __future__ import annotations

from typing import Any

import pytest

from accaware.errors import JournalError
from accaware.search.replay.replay import Replay


def never() -> Any:
    raise AssertionError("asked although the answer is recorded")


def test_recorded_answers_come_first_and_live_ones_are_recorded() -> None:
    told: list[tuple[str, Any]] = []
    replay = Replay([("a", 1), ("b", None)], lambda call, answer: told.append((call, answer)))
    assert replay.replaying
    assert replay.next_call == "a"
    assert replay.answer("a", never) == 1
    replay.act(never)
    assert replay.answer("b", never) is None
    assert not replay.replaying
    assert replay.next_call is None
    assert told == []
    assert replay.answer("c", lambda: 3) == 3
    assert told == [("c", 3)]


def test_what_is_done_live_is_done() -> None:
    done: list[int] = []
    Replay().act(lambda: done.append(1))
    assert done == [1]


def test_another_question_is_refused() -> None:
    with pytest.raises(JournalError, match="has an answer to a where b is asked"):
        Replay([("a", 1)]).answer("b", never)


def test_a_live_answer_that_fails_is_not_recorded() -> None:
    told: list[str] = []
    replay = Replay(record=lambda call, answer: told.append(call))
    with pytest.raises(ZeroDivisionError):
        replay.answer("a", lambda: 1 / 0)
    assert told == []
