"""The answers of a search that several processes run: all get those of the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from accaware.pytorch.distributed.agreement import agreed
from accaware.search.replay.replay import Replay

T = TypeVar("T")


class AgreedReplay(Replay):
    """A Replay whose every live answer is the first process's.

    A search is a function of its answers, so that all processes search alike. Each has to be led
    by the same recording, and asks everything itself, as its part may be needed for the answer.
    """

    def answer(self, call: str, live: Callable[[], T]) -> T:
        """The recorded answer, or else what the first process is answered now."""
        return super().answer(call, lambda: agreed(live()))
