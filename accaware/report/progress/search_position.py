"""Where in a search something happened, in words."""

from __future__ import annotations

from accaware.search.events import EpochFinished, EpochStarted, Event, TrialFinished, TrialStarted


class Place:
    """An observer that knows the trial and the epoch at hand."""

    def __init__(self) -> None:
        self._trial: int | None = None
        self._epoch: int | None = None

    def __str__(self) -> str:
        if self._trial is None:
            return ""
        return f"trial {self._trial}" + (f", epoch {self._epoch}" if self._epoch else "")

    def notify(self, event: Event) -> None:
        """Remember the trial and the epoch that an event begins or ends."""
        if isinstance(event, TrialStarted):
            self._trial, self._epoch = event.number, None
        elif isinstance(event, EpochStarted):
            self._epoch = event.number
        elif isinstance(event, EpochFinished):
            self._epoch = None
        elif isinstance(event, TrialFinished):
            self._trial = None
