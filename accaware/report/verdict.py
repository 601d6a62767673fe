"""What is said of a trial, in words and in a colour."""

from __future__ import annotations

from dataclasses import dataclass

from accaware.search.trial import Trial, TrialState


@dataclass(frozen=True)
class Verdict:
    """``style`` is a rich one; only a terminal shows it."""

    words: str
    style: str

    @classmethod
    def of(cls, trial: Trial) -> Verdict:
        if trial.state is TrialState.WITHIN_BUDGET:
            # The reason has more to say where a trial went wrong after its best epoch.
            return cls(trial.reason, "green")
        if trial.state is TrialState.NOT_WITHIN_BUDGET:
            return cls("beyond the limit", "yellow")
        return cls(f"failed: {trial.reason}", "red")


RUNNING = Verdict("running", "cyan")
STOPPED = Verdict("stopped", "magenta")
