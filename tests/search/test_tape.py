"""A tape gives recorded answers, then live ones."""

from __future__ import annotations

from typing import Any

import pytest

from accaware.errors import JournalError
from accaware.search.replay.tape import Tape


def never() -> Any:
    raise AssertionError("asked although the answer is recorded")


def test_recorded_answers_come_first_and_live_ones_are_recorded() -> None:
    told: list[tuple[str, Any]] = []
    tape = Tape([("a", 1), ("b", None)], lambda call, answer: told.append((call, answer)))
    assert tape.replaying
    assert tape.next_call == "a"
    assert tape.answer("a", never) == 1
    tape.act(never)
    assert tape.answer("b", never) is None
    assert not tape.replaying
    assert tape.next_call is None
    assert told == []
    assert tape.answer("c", lambda: 3) == 3
    assert told == [("c", 3)]


def test_what_is_done_live_is_done() -> None:
    done: list[int] = []
    Tape().act(lambda: done.append(1))
    assert done == [1]


def test_another_question_is_refused() -> None:
    with pytest.raises(JournalError, match="has an answer to a where b is asked"):
        Tape([("a", 1)]).answer("b", never)


def test_a_live_answer_that_fails_is_not_recorded() -> None:
    told: list[str] = []
    tape = Tape(record=lambda call, answer: told.append(call))
    with pytest.raises(ZeroDivisionError):
        tape.answer("a", lambda: 1 / 0)
    assert told == []
