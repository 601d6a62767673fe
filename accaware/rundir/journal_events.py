"""The search's events, back from the journal's lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from accaware.errors import JournalError
from accaware.results.from_json import structured
from accaware.rundir.journal_reader import JournalLine
from accaware.search.events import (
    EpochFinished,
    EpochStarted,
    Event,
    FiltersKnown,
    LearningRateKnown,
    SearchStarted,
    TrialFinished,
    TrialStarted,
)


def name_of(event: type[Any]) -> str:
    """What the journal calls this kind of event."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


_READ: dict[str, type[Event]] = {
    name_of(kind): kind
    for kind in (
        SearchStarted,
        TrialStarted,
        EpochStarted,
        LearningRateKnown,
        FiltersKnown,
        EpochFinished,
        TrialFinished,
    )
}


def events(lines: Iterable[JournalLine]) -> Iterator[tuple[float, Event]]:
    """What the lines tell of trials and their epochs, each with its time, in seconds since 1970.

    A number that isn't finite is None.

    Raises:
        JournalError: a line isn't what an event is written as.
    """
    for line in lines:
        kind = _READ.get(line.event)
        if kind is None:
            continue
        try:
            time = datetime.fromisoformat(line.content["time"]).timestamp()
            yield time, structured(kind, line.content)
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"the journal can't be read: {line.event}: {error!r}") from error
