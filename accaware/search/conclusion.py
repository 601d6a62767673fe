"""What a search hands over: a candidate, how near each came, and the result that tells of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from accaware.search.budget import AccuracyBudget
from accaware.search.history import History
from accaware.search.metric import Measurement
from accaware.search.result import (
    Best,
    ConfirmationResult,
    SearchResult,
    SearchStatus,
    StopReason,
)
from accaware.search.trial import Confirmed, Trial


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial's model as it was measured once more.

    Attributes:
        holds: whether it is within budget wherever it was judged.
        judgements: by how many kinds of data it was judged, before one refused it.
        margin: on the last of them; below 0 beyond the limit.
    """

    trial: Trial
    measured: Measurement
    holds: bool
    judgements: int
    margin: float

    @classmethod
    def of(cls, trial: Trial, measured: Measurement, budget: AccuracyBudget) -> Candidate:
        """Judged by the validation data."""
        return cls(
            trial=trial,
            measured=measured,
            holds=budget.admits(measured.value, measured.standard_error),
            judgements=1,
            margin=budget.margin(measured.value, measured.standard_error),
        )

    def confirmed(self, confirmed: Confirmed, budget: AccuracyBudget) -> Candidate:
        """Judged by the data that no trial is judged by, as well."""
        return replace(
            self,
            holds=confirmed.within_budget,
            judgements=2,
            margin=budget.margin(confirmed.metric, confirmed.standard_error),
        )


def best_effort(candidates: Iterable[Candidate]) -> Candidate | None:
    """The one that came nearest: on the data that confirm, if any came so far."""
    measured = [each for each in candidates if math.isfinite(each.measured.value)]

    def nearness(candidate: Candidate) -> tuple[int, float]:
        margin = candidate.margin
        return candidate.judgements, -math.inf if math.isnan(margin) else margin

    return max(measured, key=nearness, default=None)


def summary(
    handed_over: Candidate | None,
    stop: StopReason,
    budget: AccuracyBudget,
    history: History,
    epochs: int,
    confirmation: ConfirmationResult | None,
) -> SearchResult:
    """The result of a search; only what was confirmed, where that was asked for, is within budget.

    Args:
        epochs: of training that were spent.
    """
    within = (
        handed_over is not None
        and budget.admits(handed_over.measured.value, handed_over.measured.standard_error)
        and (confirmation is None or confirmation.holds(handed_over.trial.number))
    )
    return SearchResult(
        status=SearchStatus.WITHIN_BUDGET if within else SearchStatus.NOT_WITHIN_BUDGET,
        stop_reason=stop,
        budget=budget,
        best=Best.of(handed_over.trial, handed_over.measured, budget) if handed_over else None,
        trials=history.trials,
        epochs=epochs,
        confirmation=confirmation,
    )
