"""What a search found, told as it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from accaware.search.budget import AccuracyBudget
from accaware.search.trial import Checkpoint, Trial


class SearchStatus(str, Enum):
    WITHIN_BUDGET = "within_budget"
    NOT_WITHIN_BUDGET = "not_within_budget"


class StopReason(str, Enum):
    """Why a search ended."""

    MAXIMAL_RATE = "the maximal compression rate is within budget"
    MINIMAL_RATE = "the minimal compression rate is not within budget"
    STEP_BELOW_MINIMUM = "the next step would be below the minimal compression rate step"
    EPOCHS_SPENT = "maximal_total_epochs are spent"
    STOPPED_BY_USER_FUNCTION = "early_stopping_fn asked to stop"
    WITHIN_BUDGET = "fully compressed and within budget"
    INTERRUPTED = "interrupted"
    FAILED = "the run failed"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The model that the search hands over.

    ``metric`` is the number of the validation that followed the last load of its weights, not
    the one remembered from its trial. Degradations are positive for a loss; the relative one is
    in percent, None for a baseline of 0.
    """

    trial: int
    target_rate: float
    compression_rate: float
    metric: float
    absolute_degradation: float
    relative_degradation: float | None
    epoch: int
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        status: whether ``best`` is within budget; if not, it is the best effort.
        best: None where no trial could be judged at all; the dense model is loaded then.
        epochs: epochs of training spent.
    """

    status: SearchStatus
    stop_reason: StopReason
    budget: AccuracyBudget
    best: Best | None
    trials: tuple[Trial, ...]
    epochs: int

    @property
    def within_budget(self) -> bool:
        return self.status is SearchStatus.WITHIN_BUDGET
