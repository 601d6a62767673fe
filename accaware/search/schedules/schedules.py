"""The compression level at an epoch, as pure functions of the epoch.

Epochs count from 0. Levels are fractions in [0, 1]; each schedule goes from ``init`` to
``target``. Pruning levels follow Zhu and Gupta, "To prune, or not to prune" (2017), in spirit:
fast at first, slower towards the end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

from accaware.errors import UsageError


class Schedule(Protocol):
    """A level for each moment of training."""

    @property
    def target(self) -> float:
        """The level of full compression."""

    @property
    def epochs_to_target(self) -> int | None:
        """How many epochs are needed for one at full compression; None if it can't be known."""

    def level(self, epoch: float) -> float:
        """The level at ``epoch``; fractions of an epoch are moments within it."""


@dataclass(frozen=True)
class Baseline:
    """0 for ``delay`` epochs, then the target at once."""

    target: float
    delay: int = 0

    @property
    def epochs_to_target(self) -> int:
        """The delay, and one epoch at the target."""
        return self.delay + 1

    def level(self, epoch: float) -> float:
        """0 before the delay is over, the target from then on."""
        return 0.0 if epoch < self.delay else self.target


@dataclass(frozen=True)
class Exponential:
    """What is kept shrinks by one factor an epoch, reaching the target after ``duration``.

    level(i) = 1 - (1 - init) * ((1 - target) / (1 - init)) ** (i / duration), i from ``delay``.
    """

    init: float
    target: float
    duration: int
    delay: int = 0

    @property
    def epochs_to_target(self) -> int:
        """The delay, the way to the target, and one epoch at it."""
        return self.delay + self.duration + 1

    def level(self, epoch: float) -> float:
        """0 before the delay is over, then along the curve to the target."""
        if epoch < self.delay:
            return 0.0
        done = epoch - self.delay
        if done >= self.duration or self.init >= self.target:
            return self.target
        ratio = (1 - self.target) / (1 - self.init)
        removed = 1 - math.pow(ratio, done / self.duration)  # of what init left
        return min(self.init + (1 - self.init) * removed, self.target)


@dataclass(frozen=True)
class ExponentialWithBias:
    """a * exp(-k * i) + b through (0, init), (duration / 8, 3/4 target) and (duration, target).

    Raises:
        UsageError: no such curve exists, as ``init`` isn't below three quarters of ``target``.
    """

    init: float
    target: float
    duration: int
    delay: int = 0

    def __post_init__(self) -> None:
        if not (self.init == self.target or self.init < 0.75 * self.target):
            raise UsageError(
                f"exponential_with_bias needs an initial level below three quarters of its "
                f"target, and {self.init:g} against {self.target:g} is not"
            )

    @property
    def epochs_to_target(self) -> int:
        """The delay, the way to the target, and one epoch at it."""
        return self.delay + self.duration + 1

    def level(self, epoch: float) -> float:
        """0 before the delay is over, then along the curve to the target."""
        if epoch < self.delay:
            return 0.0
        done = epoch - self.delay
        if done >= self.duration or self.init == self.target:
            return self.target
        progress = done / self.duration
        decay = self._decay()
        # (1 - e^-ks) / (1 - e^-k) runs from 0 to 1 as s does, and is s itself for k = 0.
        shape = math.expm1(-decay * progress) / math.expm1(-decay) if decay else progress
        return min(self.init + (self.target - self.init) * shape, self.target)

    def _decay(self) -> float:
        """The k * duration with which three quarters of the target are reached at an eighth.

        The share of the way to go at an eighth, f(k) = expm1(-k/8) / expm1(-k), rises from 0
        to 1 with k, negative k included, so bisection finds the only solution.
        """
        wanted = (0.75 * self.target - self.init) / (self.target - self.init)
        low, high = -400.0, 400.0
        for _ in range(100):
            middle = (low + high) / 2
            share = math.expm1(-middle / 8) / math.expm1(-middle) if middle else 1 / 8
            low, high = (middle, high) if share < wanted else (low, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class Polynomial:
    """From ``init`` to ``target`` along progress ** power, or its mirror image if concave."""

    init: float
    target: float
    duration: int
    power: float = 0.9
    concave: bool = True

    @property
    def epochs_to_target(self) -> int:
        """The way to the target, and one epoch at it."""
        return self.duration + 1

    def level(self, epoch: float) -> float:
        """Along the curve, and the target once ``duration`` is over."""
        if epoch >= self.duration:
            return self.target
        progress, way = epoch / self.duration, self.target - self.init
        if self.concave:
            return self.target - way * math.pow(1 - progress, self.power)
        return min(self.init + way * math.pow(progress, self.power), self.target)


@dataclass(frozen=True)
class MultiStep:
    """Piecewise constant: ``levels[k]`` from epoch ``steps[k - 1]`` on (one more than steps)."""

    steps: tuple[int, ...]
    levels: tuple[float, ...]

    @property
    def target(self) -> float:
        """The last of the levels."""
        return self.levels[-1]

    @property
    def epochs_to_target(self) -> int:
        """Up to the last step, and one epoch after it."""
        return (self.steps[-1] if self.steps else 0) + 1

    def level(self, epoch: float) -> float:
        """The level of the last step that was reached; before all steps, the first."""
        return self.levels[bisect_right(self.steps, epoch)]


ADAPTIVE_STEP = 0.05
"""How much the adaptive schedule's level rises at a time."""


@dataclass(frozen=True)
class Adaptive:
    """Rises by ADAPTIVE_STEP each time the metric has held for ``patience`` validations.

    Its level depends on what was observed, which its scheduler counts; ``level`` takes the
    number of rises so far in place of an epoch.
    """

    init: float
    target: float
    patience: int = 1

    @property
    def epochs_to_target(self) -> None:
        """None: when the level rises, the metrics decide."""
        return None

    def level(self, epoch: float) -> float:
        """The level after so many rises, at most the target."""
        return min(round(self.init + ADAPTIVE_STEP * epoch, 10), self.target)
