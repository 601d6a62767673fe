"""Every answer that a search got from outside, so that it can be led through them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from accaware.errors import JournalError

T = TypeVar("T")


class Replay:
    """Gives recorded answers as long as there are any, and records live ones from then on.

    A search is a function of the answers it gets. Run again with the same ones, it comes to the
    same place without any training, and goes on live from there.

    Args:
        recorded: (what was asked, the answer), in order.
        record: told of each live answer, as it comes.
    """

    def __init__(
        self,
        recorded: Iterable[tuple[str, Any]] = (),
        record: Callable[[str, Any], None] = lambda call, answer: None,
    ) -> None:
        self._ahead = deque(recorded)
        self._record = record
        self.given: list[tuple[str, Any]] = []
        """All answers so far: they lead another search to where this one is."""

    @property
    def replaying(self) -> bool:
        """Whether there are recorded answers left."""
        return bool(self._ahead)

    @property
    def next_call(self) -> str | None:
        """What was asked next in the recording; None where it is live."""
        return self._ahead[0][0] if self._ahead else None

    def answer(self, call: str, live: Callable[[], T]) -> T:
        """The recorded answer, or else the one that ``live`` gives now.

        Raises:
            JournalError: something else was asked at this point of the recording.
        """
        if not self._ahead:
            fresh = live()
            self._record(call, fresh)
            self.given.append((call, fresh))
            return fresh
        recorded, answer = self._ahead.popleft()
        if recorded != call:
            raise JournalError(
                f"the journal doesn't fit this search: it has an answer to {recorded} "
                f"where {call} is asked"
            )
        self.given.append((call, answer))
        known: T = answer
        return known

    def act(self, live: Callable[[], None]) -> None:
        """Do something that has no answer; in a replay it was done already."""
        if not self._ahead:
            live()
