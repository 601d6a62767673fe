"""An executor of trials whose reports are recorded."""

from __future__ import annotations

from collections.abc import Sequence

from accaware.search.replay.replay import Replay
from accaware.search.trials.executor import TrialExecutor
from accaware.search.trials.order import Noted, Report, TrialOrder, recorded, report_of


class ReplayedExecutor:
    """Passes everything on to ``executor``, but for what the recording answers.

    A recording ends with a round, whose reports are all in it. Of a round that was under way the
    executor itself knows how far its trials had come.
    """

    def __init__(self, executor: TrialExecutor, replay: Replay) -> None:
        self._executor = executor
        self._replay = replay

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        """Begin with trials; in a replay they were run already."""
        self._replay.act(lambda: self._executor.submit(orders))

    def next(self) -> Report | None:
        """The recorded report, or the one that comes now."""
        if self._replay.replaying:
            return report_of(self._replay.answer("report", dict))
        report = self._executor.next()
        # What there is to say of a replayed epoch was said when it was trained.
        if report is not None and not isinstance(report, Noted):
            self._replay.answer("report", lambda: recorded(report))
        return report

    def cancel(self, trial: int) -> None:
        """Leave a trial, but not in a replay."""
        self._replay.act(lambda: self._executor.cancel(trial))

    def forget(self, trials: Sequence[int]) -> None:
        """The snapshot behind a round is there, and so the round is safe."""
        self._replay.act(lambda: self._executor.forget(trials))

    def rewind(self) -> None:
        """Go back to where it was before the first trial, but not in a replay."""
        self._replay.act(self._executor.rewind)

    def close(self) -> None:
        """Let go of whatever runs trials."""
        self._executor.close()
