"""events.jsonl: what happened in a run and what its search was answered, as it happens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accaware.results import strict_json
from accaware.rundir.atomic import naming, write_all
from accaware.rundir.flush import BackgroundFlush
from accaware.rundir.journal_events import name_of
from accaware.rundir.journal_reader import ANSWER, SNAPSHOT, encoded
from accaware.search.events import BatchFinished, Event, SearchFinished, Waited
from accaware.search.ports import Observer
from accaware.search.replay import resumable
from accaware.search.replay.replay import Replay


class Journal:
    """Appends the events it is told of to a file, as ``{"time", "event", ...}``.

    Every line is handed to the system at once, so that a process that was killed has its journal
    up to there. A snapshot's mark, and all before it, is on disk before the next one's is written:
    a power cut loses one snapshot at most. Batches are left out: they matter to a progress bar,
    not to whoever reads this later.

    Args:
        seconds: that the run took before this process.

    Raises:
        OSError: the file can't be written. What had been written is whole.
    """

    def __init__(self, path: Path, seconds: float = 0.0) -> None:
        self._path = path
        self._began = time.perf_counter() - seconds
        with naming(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._flush = BackgroundFlush()
        self._end = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        # Where the run has failed, that is the error to tell.
        with suppress(OSError) if error is not None else nullcontext():
            self._flush.wait()

    @property
    def seconds(self) -> float:
        """How long the run has taken, the times between its processes left out."""
        return time.perf_counter() - self._began

    def run_started(self, *, device: str, left_out: Iterable[tuple[str, str]]) -> None:
        """Where it runs, and the layers that are left out, and why."""
        layers = [{"layer": layer, "reason": reason} for layer, reason in left_out]
        self._append("run_started", {"device": device, "left_out": layers})

    def run_resumed(self, *, device: str) -> None:
        """Another process goes on from the last snapshot."""
        self._append("run_resumed", {"device": device})

    def run_stopped(self, reason: str, message: str) -> None:
        """The last line of a run that ends before its search does."""
        self._append("run_stopped", {"reason": reason, "message": message})

    def answer(self, call: str, answer: Any) -> None:
        """What the search was answered; enough of this to lead it there again."""
        if call == resumable.SNAPSHOT:
            self._append(SNAPSHOT, {**answer, "seconds": round(self.seconds, 3)})
            self._flush.start([self._path])
        else:
            self._append(ANSWER, {"call": call, "value": encoded(answer)})

    def notify(self, event: Event) -> None:
        """Write a line of the event, unless it is a batch's, or none of anything."""
        if isinstance(event, BatchFinished | Waited):
            return
        content = strict_json.jsonable(event)
        if isinstance(event, SearchFinished):
            # The lines above tell of every trial already.
            del content["result"]["trials"]
        self._append(name_of(type(event)), content)

    def _append(self, event: str, content: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = strict_json.line({"time": now, "event": event, **content}) + "\n"
        data = line.encode("utf-8")
        with naming(self._path):
            try:
                write_all(self._descriptor, data)
            except OSError:
                # A full disk may have taken half of it, and behind that nothing could be read.
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._end)
                raise
        self._end += len(data)


class WhileLive:
    """Passes on events, but for those of a replay: they are in the journal already."""

    def __init__(self, observer: Observer, replay: Replay) -> None:
        self._observer = observer
        self._replay = replay

    def notify(self, event: Event) -> None:
        """Pass it on, unless it is one of a replay."""
        if not self._replay.replaying:
            self._observer.notify(event)
