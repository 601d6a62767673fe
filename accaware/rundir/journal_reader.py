"""events.jsonl read back: the answers that lead a search to its last snapshot again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accaware.errors import JournalError
from accaware.rundir.atomic import naming
from accaware.search.replay import resumable

ANSWER = "answer"
SNAPSHOT = "snapshot"
"""The events of lines that a replay needs; the others are for people."""

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class JournalLine:
    """One line's content, and where it ends in the file, in bytes."""

    content: dict[str, Any]
    end: int

    @property
    def event(self) -> str:
        """What kind of line it is."""
        event: str = self.content["event"]
        return event


@dataclass(frozen=True)
class Recording:
    """A run up to a snapshot.

    Attributes:
        answers: for a tape; the last one is the snapshot's mark.
        end: bytes of the journal that belong to it.
        seconds: that the run took until then.
        damaged: later snapshots, whose files aren't what was written.
    """

    answers: tuple[tuple[str, Any], ...] = ()
    end: int = 0
    seconds: float = 0.0
    damaged: tuple[str, ...] = ()


def read_journal(path: Path) -> list[JournalLine]:
    """Every whole line. A last line without an end, as a kill may leave it, is left out.

    Raises:
        JournalError: a line is no event; names the line.
        OSError: the file can't be read.
    """
    with naming(path):
        data = path.read_bytes()
    lines, end = [], 0
    for number, raw in enumerate(data.split(b"\n")[:-1], start=1):
        end += len(raw) + 1
        try:
            content = json.loads(raw)
        except ValueError as error:
            raise JournalError(f"{path}:{number}: can't be read: {error}") from error
        if not (isinstance(content, dict) and isinstance(content.get("event"), str)):
            raise JournalError(f"{path}:{number}: can't be read: not an event")
        lines.append(JournalLine(content, end))
    return lines


def recording_of(
    lines: list[JournalLine], intact: Callable[[str, str], bool], place: Path
) -> Recording:
    """The longest recording that ends with a snapshot whose file is intact.

    Args:
        intact: whether the file of this name has this digest.
        place: the journal's path, for messages.

    Returns:
        An empty recording where no snapshot was taken yet: the run starts over.

    Raises:
        JournalError: none of the snapshots that are kept is intact.
    """
    marks = [at for at, line in enumerate(lines) if line.event == SNAPSHOT]
    kept = marks[-resumable.KEPT_SNAPSHOTS :]
    damaged: list[str] = []
    answers = _answers(lines, place)
    for at in reversed(kept):
        mark = lines[at].content
        if all(intact(file, digest) for file, digest in mark["digests"].items()):
            recorded = tuple(answer for answer in answers[: at + 1] if answer is not None)
            return Recording(recorded, lines[at].end, float(mark["seconds"]), tuple(damaged))
        damaged.append(mark["name"])
    if damaged:
        raise JournalError(
            f"{place.parent}: {' and '.join(damaged)} in checkpoints can't be read or are not "
            "what was written; put them back, or start over in another directory"
        )
    return Recording()


def encoded(answer: Any) -> Any:
    """Numbers that JSON doesn't know become strings."""
    if isinstance(answer, float) and not math.isfinite(answer):
        return next(
            name
            for name, value in _NOT_FINITE.items()
            if value == answer or (math.isnan(value) and math.isnan(answer))
        )
    return answer


def _answers(lines: list[JournalLine], place: Path) -> list[tuple[str, Any] | None]:
    """What each line has for a tape; None where it is an event for people."""
    answers: list[tuple[str, Any] | None] = []
    for number, line in enumerate(lines, start=1):
        content, answer = line.content, None
        try:
            if line.event == SNAPSHOT:
                float(content["seconds"])
                digests = {str(file): str(its) for file, its in content["digests"].items()}
                mark = {"name": str(content["name"]), "digests": digests}
                answer = resumable.SNAPSHOT, mark
            elif line.event == ANSWER:
                answer = str(content["call"]), _decoded(content["value"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise JournalError(f"{place}:{number}: can't be read: {error!r}") from error
        answers.append(answer)
    return answers


def _decoded(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
