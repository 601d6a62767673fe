"""The evolution that learned ranking is: of a scale and a shift for each layer."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Affine:
    """What becomes of a layer's importances: ``scale * importance + shift``."""

    scale: float = 1.0
    shift: float = 0.0


Candidate = tuple[Affine, ...]
"""One for each layer."""


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """How many candidates there are, and how they evolve; the defaults are the paper's.

    Attributes:
        generations: how many candidates there will be.
        seed: of all that is drawn.
        higher_is_better: whether a larger metric is the better one.
        population: members that are alive at a time; a search too short for so many has fewer.
        tournament: members that are drawn, the best of which is mutated; at most all of them.
        mutated_share: of the layers, changed in a mutation; at least one is.
        scale_sigma: standard deviation of the logarithm of a mutation's scale.
    """

    generations: int
    seed: int
    higher_is_better: bool
    population: int = 64
    tournament: int = 16
    mutated_share: float = 0.1
    scale_sigma: float = 1.0


class RankingEvolution:
    """Proposes candidates and is told how good they are; the worst fate is to grow old.

    Chin et al., "Towards Efficient Model Compression via Learned Global Ranking" (2020),
    section 3.2, which evolves as Real et al., "Regularized Evolution for Image Classifier
    Architecture Search" (2019), section 3.1, do: the best of a few members is mutated, and its
    child takes the place of the oldest member.

    The first candidate changes nothing, so that the best one is never worse than that.

    Args:
        spreads: for each layer the standard deviation of its importances, the unit of shifts.
        settings: of this search.
    """

    def __init__(self, spreads: Sequence[float], settings: EvolutionSettings) -> None:
        self._spreads = tuple(spreads)
        self._settings = settings
        # Half of a short search is left for mutations.
        self._size = min(settings.population, max(1, settings.generations // 2))
        self._tournament = min(settings.tournament, self._size)
        self._random = random.Random(settings.seed)
        self._sign = 1 if settings.higher_is_better else -1
        self._population: deque[tuple[Candidate, float]] = deque(maxlen=self._size)
        self._best: tuple[Candidate, float] | None = None

    @property
    def best(self) -> tuple[Candidate, float] | None:
        """The best candidate and its metric; None while none had a metric that is a number."""
        return self._best

    def propose(self) -> Candidate:
        """The next candidate to be judged."""
        if not self._population:
            return tuple(Affine() for _ in self._spreads)
        if len(self._population) < self._size:
            start = tuple(Affine() for _ in self._spreads)
            return self._mutated(start, range(len(self._spreads)))
        entrants = self._random.sample(self._population, self._tournament)
        parent, _ = max(entrants, key=lambda entrant: self._fitness(entrant[1]))
        count = max(1, round(self._settings.mutated_share * len(self._spreads)))
        return self._mutated(parent, self._random.sample(range(len(self._spreads)), count))

    def judge(self, candidate: Candidate, metric: float) -> None:
        """Tell what came of a candidate; a NaN is worse than any number."""
        self._population.append((candidate, metric))
        if math.isnan(metric):
            return
        if self._best is None or self._fitness(metric) > self._fitness(self._best[1]):
            self._best = candidate, metric

    def _fitness(self, metric: float) -> float:
        return -math.inf if math.isnan(metric) else self._sign * metric

    def _mutated(self, candidate: Candidate, layers: Sequence[int]) -> Candidate:
        changed = list(candidate)
        for layer in layers:
            one = changed[layer]
            changed[layer] = Affine(
                one.scale * math.exp(self._random.gauss(0, self._settings.scale_sigma)),
                one.shift + self._random.gauss(0, self._spreads[layer]),
            )
        return tuple(changed)
