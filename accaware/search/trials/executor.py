"""The ports between a search that proposes trials and whatever runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from accaware.search.ports import CompressionController, Runner
from accaware.search.trials.order import Report, TrialOrder, TrialProgress


class TrialExecutor(Protocol):
    """Runs trials, one after another or several at a time, and reports as they go.

    What it reports of a trial follows from its order alone: neither from the trials beside it nor
    from where and when it is run, nor from how often it had to be begun.
    """

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        """Begin with these trials as soon as there is somebody to run them."""

    def next(self) -> Report | None:
        """Wait for the next report; None where there is none for a moment.

        Of a trial there come Began, its epochs in order, and its end, with the last of the epochs
        or alone.

        Raises:
            PluginFailure: the user's code raised.
            RunError: nobody is left to run trials.
        """

    def cancel(self, trial: int) -> None:
        """Neither a further report of a trial is wanted nor its weights."""

    def forget(self, trials: Sequence[int]) -> None:
        """These are settled and safe: nobody goes on with them in another process."""

    def rewind(self) -> None:
        """Make everything in this process as it was before the first trial, whoever ran any."""

    def close(self) -> None:
        """Let go of whatever runs trials; may be called again."""


class TrialBench(Protocol):
    """A model on which any trial can be run, whatever was run on it before."""

    @property
    def controller(self) -> CompressionController:
        """What compresses the model."""

    @property
    def runner(self) -> Runner:
        """What trains it."""

    def reset(self, trial: int) -> None:
        """Make everything as it was before the first trial, with random numbers of this one's.

        Args:
            trial: its number; -1 for none, behind which the search concludes.
        """

    def resume(self, order: TrialOrder) -> TrialProgress | None:
        """Go to where a trial of this very order was kept last; None where it wasn't."""

    def keep(self, order: TrialOrder, progress: TrialProgress) -> None:
        """Keep where a trial is, so that it can be gone on with after this process."""

    def forget(self, trial: int) -> None:
        """Drop what ``keep`` has kept of a trial; it may be nothing."""
