"""Who proposes the next rate: pure functions from the history to a decision."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from accaware.search.budget import as_decimal
from accaware.search.params import AdaptiveParams
from accaware.search.result import StopReason
from accaware.search.trial import History

GRID = Decimal("0.000001")
"""Rates are whole multiples of this, so that sums are exact and a rate met again is recognised."""


@dataclass(frozen=True)
class Propose:
    """Try ``rate`` with the base learning rate times ``lr_factor``."""

    rate: float
    lr_factor: float


@dataclass(frozen=True)
class Stop:
    """No further rate is proposed, and why."""

    reason: StopReason


Decision = Propose | Stop


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


def uniform_decrease(history: History, params: AdaptiveParams, bounds: Bounds) -> Decision:
    """Up by a step after a rate within budget, down after one that isn't.

    The step shrinks by ``compression_rate_step_reduction_factor`` whenever the direction turns,
    and the learning rate with it. A step over a bound is clamped to the bound.

    Args:
        history: at least one step, the initial phase's, or without one the baseline model's.
    """
    step = as_decimal(params.initial_compression_rate_step)
    factor = as_decimal(params.compression_rate_step_reduction_factor)
    direction, reductions = 0, 0
    for tried in history.steps:
        verdict = 1 if history.passed(tried) else -1
        if direction and verdict != direction:
            step *= factor
            reductions += 1
        direction = verdict

    rate = as_decimal(history.steps[-1].target_rate)
    lowest, highest = as_decimal(bounds.minimal), as_decimal(bounds.maximal)
    if direction > 0 and rate >= highest:
        return Stop(StopReason.MAXIMAL_RATE)
    if direction < 0 and rate <= lowest:
        return Stop(StopReason.MINIMAL_RATE)
    step = step.quantize(GRID, ROUND_FLOOR)
    if step < max(as_decimal(params.minimal_compression_rate_step), GRID):
        return Stop(StopReason.STEP_BELOW_MINIMUM)
    target = min(max(rate + direction * step, lowest), highest)
    return Propose(float(target), params.lr_reduction_factor**reductions)
