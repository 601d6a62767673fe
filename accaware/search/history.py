"""What a search has done so far, all of it immutable."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accaware.search.budget import AccuracyBudget
from accaware.search.trial import Confirmed, Trial, TrialPhase


@dataclass(frozen=True)
class Step:
    """A rate that the strategy asked for and what answered it.

    ``trial`` is the number of the answering trial, which may be an earlier one; None is the
    baseline model, rate 0, within budget by definition.
    """

    target_rate: float
    trial: int | None


@dataclass(frozen=True)
class History:
    """The trials in order of training, the steps in order of asking, and what was confirmed."""

    trials: tuple[Trial, ...] = ()
    steps: tuple[Step, ...] = ()
    confirmed: tuple[Confirmed, ...] = ()

    def with_trial(self, trial: Trial) -> History:
        """Also records the step that the trial answers, if it is for a rate's verdict."""
        if trial.phase is TrialPhase.LEARNING_RATE or trial.cancelled:
            return replace(self, trials=(*self.trials, trial))
        step = Step(trial.target_rate, trial.number)
        return replace(self, trials=(*self.trials, trial), steps=(*self.steps, step))

    def with_known(self, step: Step) -> History:
        """A step that an earlier trial answers."""
        return replace(self, steps=(*self.steps, step))

    def with_confirmed(self, confirmed: Confirmed) -> History:
        """What became of a trial's model on the data that no trial is judged by."""
        return replace(self, confirmed=(*self.confirmed, confirmed))

    @property
    def refused(self) -> frozenset[int]:
        """The trials whose models aren't within budget on the data that no trial is judged by."""
        return frozenset(one.trial for one in self.confirmed if not one.within_budget)

    def passed(self, step: Step) -> bool:
        """Whether a step was within budget; one without a trial is the baseline model's."""
        return step.trial is None or self.trials[step.trial].within_budget

    def failed(self, step: Step) -> bool:
        """Whether a step wasn't within budget, by a trial that tells."""
        return not self.passed(step) and step.trial is not None and self.trials[step.trial].judged

    def reached(self, step: Step) -> float:
        """The rate that answers a step: where its layout achieves more than was asked, that."""
        achieved = 0.0 if step.trial is None else self.trials[step.trial].compression_rate
        return max(step.target_rate, achieved)

    def known(self, target_rate: float) -> Step | None:
        """The answer where ``target_rate`` is outside the bracket that is left to search.

        The bracket lies between the highest target within budget (0 to begin with) and the
        lowest one above it that isn't: what is at or below the first is within budget too, what
        is at or above the second isn't either.
        """
        highest = max(
            filter(self.passed, self.steps),
            key=lambda step: step.target_rate,
            default=Step(0.0, None),
        )
        if target_rate <= highest.target_rate:
            return Step(target_rate, highest.trial)
        beyond = (
            step
            for step in self.steps
            if self.failed(step) and step.target_rate > highest.target_rate
        )
        lowest = min(beyond, key=lambda step: step.target_rate, default=None)
        if lowest is not None and target_rate >= lowest.target_rate:
            return Step(target_rate, lowest.trial)
        return None

    def achieved(self, target_rate: float, compression_rate: float) -> Step | None:
        """The answer where an earlier trial was judged at exactly this achieved rate."""
        if compression_rate == 0:
            return Step(target_rate, None)
        for trial in self.trials:
            if trial.judged and trial.compression_rate == compression_rate:
                return Step(target_rate, trial.number)
        return None

    def start_for(self, target_rate: float) -> Trial | None:
        """The trial to start from: the highest rate within budget below ``target_rate``.

        Of those whose weights are kept. Where none was within budget yet, the best effort: its
        epochs aren't lost. None is the baseline model.
        """
        kept = [trial for trial in self.trials if trial.checkpoint is not None]
        passed = [trial for trial in kept if trial.within_budget]
        below = [trial for trial in passed if trial.compression_rate < target_rate]
        if not passed and kept:
            return kept[-1]
        return max(below, key=lambda trial: trial.compression_rate, default=None)

    def nearest(self, target_rate: float) -> Trial | None:
        """The trial with the highest rate at or below this whose weights are kept; the last one."""
        below = [
            trial
            for trial in self.trials
            # A layout that reaches a little more than was asked for is the one for that rate.
            if trial.checkpoint is not None
            and min(trial.target_rate, trial.compression_rate) <= target_rate
        ]
        return max(below, key=lambda trial: (trial.compression_rate, trial.number), default=None)

    def ranked(self, budget: AccuracyBudget) -> list[Trial]:
        """Trials whose weights are kept, best first.

        Those within budget by achieved rate and then metric, and after them the best efforts by
        metric and then rate.
        """

        def rank(trial: Trial) -> tuple[bool, float, float]:
            assert trial.metric is not None
            margin = budget.margin(trial.metric, trial.standard_error)
            rate = trial.compression_rate
            return (True, rate, margin) if trial.within_budget else (False, margin, rate)

        kept = (trial for trial in self.trials if trial.checkpoint is not None)
        return sorted(kept, key=rank, reverse=True)
