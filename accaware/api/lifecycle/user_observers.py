"""Observers of the user's, whose exceptions are theirs."""

from __future__ import annotations

from collections.abc import Sequence

from accaware.errors import UsageError
from accaware.plugins.plugin import guarded
from accaware.search.events import Event
from accaware.search.ports import Observer


def guarded_observers(observers: Sequence[Observer]) -> list[Observer]:
    """The same, each of which raises a PluginFailure where it raises."""
    return [_Guarded(observer) for observer in observers]


def check_observers(observers: Sequence[Observer]) -> None:
    """See that each of them can be told of events.

    Raises:
        UsageError: one of them can't be told anything.
    """
    for observer in observers:
        if not callable(getattr(observer, "notify", None)):
            raise UsageError(f"observers: {observer!r} has no method notify(event)")


class _Guarded:
    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._name = f"{type(observer).__name__}.notify"

    def notify(self, event: Event) -> None:
        """Tell the user's observer."""
        guarded(self._name, self._observer.notify, event)
