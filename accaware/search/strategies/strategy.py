"""What a strategy is asked, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Protocol

from accaware.search.budget import as_decimal
from accaware.search.history import History, Step
from accaware.search.params import AdaptiveParams
from accaware.search.result import StopReason
from accaware.search.trial import TrialPhase

GRID = Decimal("0.000001")
"""Rates are whole multiples of this, so that sums are exact and a rate met again is recognised."""


@dataclass(frozen=True)
class FollowSchedule:
    """Train so many epochs with the schedule of the compression section."""

    epochs: int


@dataclass(frozen=True, kw_only=True)
class Propose:
    """Train at a rate.

    Attributes:
        rate: asked for, in [0, 1].
        epochs: at the most.
        lr_factor: the base learning rate is multiplied by it.
        start: the number of the trial whose weights it starts from; None for the dense model's.
        ends_within_budget: the trial is over as soon as it has passed.
        gives_up: the trial is over as soon as it can't be expected to pass.
        again: it is trained though the layout may have been judged before.
    """

    rate: float
    epochs: int
    lr_factor: float = 1.0
    start: int | None = None
    phase: TrialPhase = TrialPhase.SEARCH
    ends_within_budget: bool = False
    gives_up: bool = False
    again: bool = False


@dataclass(frozen=True)
class ProposeSeveral:
    """Train at several rates at a time; the proposals are of ascending rates."""

    proposals: tuple[Propose, ...]


@dataclass(frozen=True)
class Answered:
    """The next rate needs no training, as an earlier trial says what comes of it."""

    step: Step


@dataclass(frozen=True)
class Stop:
    """No further rate is proposed, and why."""

    reason: StopReason


Decision = FollowSchedule | Propose | ProposeSeveral | Answered | Stop


class Strategy(Protocol):
    """Decides what a search does next; the same history always gets the same decision."""

    @property
    def most_epochs(self) -> int:
        """What a search may cost, however its trials end."""

    def decide(self, history: History) -> Decision:
        """What to do next; an empty history is a search's beginning."""

    def wanted(self, history: History) -> frozenset[int]:
        """The trials whose weights a later proposal may start from."""


@dataclass(frozen=True)
class Bounds:
    """The rates that may be tried, both ends included."""

    minimal: float
    maximal: float

    @classmethod
    def of(cls, params: AdaptiveParams, reachable: float) -> Bounds:
        """The bounds of ``params``, lowered to the highest rate that the model can reach."""
        highest = on_grid(min(params.maximal_compression_rate, reachable), ROUND_FLOOR)
        return cls(min(on_grid(params.minimal_compression_rate, ROUND_CEILING), highest), highest)


def on_grid(rate: float, rounding: str = ROUND_HALF_EVEN) -> float:
    """``rate`` as the grid has it."""
    return float(as_decimal(rate).quantize(GRID, rounding))
