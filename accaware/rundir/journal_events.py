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


def event_of(line: JournalLine) -> Event | None:
    """What a line tells of the search, a trial or an epoch; None for any other line.

    A number that isn't finite is None.

    Raises:
        JournalError: the line isn't what an event is written as.
    """
    kind = _READ.get(line.event)
    try:
        return None if kind is None else structured(kind, line.content)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(line, error) from error


def events(lines: Iterable[JournalLine]) -> Iterator[tuple[float, Event]]:
    """The same of all lines, each event with its time, in seconds since 1970.

    Raises:
        JournalError: a line isn't what an event is written as.
    """
    for line in lines:
        event = event_of(line)
        if event is None:
            continue
        try:
            time = datetime.fromisoformat(line.content["time"]).timestamp()
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(line, error) from error
        yield time, event


def _unreadable(line: JournalLine, error: Exception) -> JournalError:
    return JournalError(f"the journal can't be read: {line.event}: {error!r}")
