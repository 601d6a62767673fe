"""The evolution of learned ranking, on functions whose best is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accaware.pytorch.compression.pruning.evolution import (
    Affine,
    Candidate,
    EvolutionSettings,
    RankingEvolution,
)

METRICS = st.floats(-10, 10) | st.just(math.nan)


def evolve(
    metrics: list[float],
    *,
    layers: int = 4,
    seed: int = 0,
    higher_is_better: bool = True,
    **numbers: float,
) -> tuple[RankingEvolution, list[Candidate]]:
    """Judge one candidate after the other by the metrics, whatever it is."""
    evolution = RankingEvolution(
        [1.0] * layers,
        EvolutionSettings(
            generations=len(metrics), seed=seed, higher_is_better=higher_is_better, **numbers
        ),
    )
    candidates = []
    for metric in metrics:
        candidates.append(evolution.propose())
        evolution.judge(candidates[-1], metric)
    return evolution, candidates


@given(st.lists(METRICS, min_size=1, max_size=40), st.booleans())
@settings(deadline=None)
def test_the_best_is_the_first_of_the_best_metrics(metrics, higher_is_better) -> None:
    evolution, candidates = evolve(metrics, higher_is_better=higher_is_better)
    numbers = [metric for metric in metrics if not math.isnan(metric)]
    if not numbers:
        assert evolution.best is None
        return
    best = max(numbers) if higher_is_better else min(numbers)
    assert evolution.best == (candidates[metrics.index(best)], best)


@given(st.lists(METRICS, min_size=1, max_size=20), st.integers(0, 3))
@settings(deadline=None)
def test_a_seed_gives_one_course(metrics, seed) -> None:
    _, once = evolve(metrics, seed=seed)
    _, again = evolve(metrics, seed=seed)
    assert once == again
    assert once[0] == (Affine(),) * 4
    assert all(affine.scale > 0 for candidate in once for affine in candidate)
    if len(metrics) > 4:
        _, other = evolve(metrics, seed=seed + 1)
        assert other != once


@pytest.mark.parametrize(
    ("numbers", "population", "changed_layers"),
    [
        ({}, 64, 3),
        ({"population": 10}, 10, 3),
        ({"mutated_share": 0.5}, 64, 15),
        ({"mutated_share": 0.001}, 64, 1),
        ({"population": 10**6}, 96, 3),
    ],
)
def test_a_child_differs_from_a_living_member_in_a_share_of_the_layers(
    numbers, population, changed_layers
) -> None:
    layers, total = 30, 192
    metrics = [float(number % 7) for number in range(total)]
    _, candidates = evolve(metrics, layers=layers, **numbers)
    for number in range(population, total):
        living = candidates[number - population : number]
        changed = [
            sum(mine != its for mine, its in zip(candidates[number], member, strict=True))
            for member in living
        ]
        assert min(changed) == changed_layers


def test_a_tournament_of_all_is_won_by_the_best_of_the_living() -> None:
    metrics = [float(number) for number in range(20)]
    _, candidates = evolve(metrics, layers=10, population=10, tournament=10)
    for number in range(10, 20):
        parent = candidates[number - 1]  # the newest is the best
        assert sum(m != i for m, i in zip(candidates[number], parent, strict=True)) == 1


def test_a_mutation_scales_by_sigma() -> None:
    _, still = evolve([1.0] * 20, scale_sigma=0.0)
    assert all(one.scale == 1 for candidate in still for one in candidate)
    _, wild = evolve([1.0] * 20, scale_sigma=3.0)
    _, usual = evolve([1.0] * 20)
    assert [3 * math.log(one.scale) for one in usual[1]] == pytest.approx(
        [math.log(one.scale) for one in wild[1]]
    )


def test_the_oldest_member_dies_however_good_it_was() -> None:
    def apart(mine: Candidate, its: Candidate) -> int:
        return sum(one != other for one, other in zip(mine, its, strict=True))

    # Half of eight candidates are the first population, so all of it enters each tournament.
    _, candidates = evolve([9.0, 0.0, 0.0, 0.0, 5.0, 4.0, 3.0, 2.0], layers=20)
    assert apart(candidates[4], candidates[0]) == 2
    # By now the first and best one is dead, and its child is the best of the living.
    assert [apart(child, candidates[4]) for child in candidates[5:]] == [2, 2, 2]


def test_where_all_importances_are_equal_there_is_no_shift_to_learn() -> None:
    evolution = RankingEvolution(
        [0.0], EvolutionSettings(generations=8, seed=0, higher_is_better=True)
    )
    for _ in range(8):
        candidate = evolution.propose()
        assert candidate[0].shift == 0
        evolution.judge(candidate, 1.0)


def test_it_finds_what_a_function_asks_for() -> None:
    wanted = (4.0, 0.25, 1.0, 2.0, 0.5)

    def metric(candidate: Candidate) -> float:
        return -sum(
            math.log(affine.scale / scale) ** 2 + affine.shift**2
            for affine, scale in zip(candidate, wanted, strict=True)
        )

    evolution = RankingEvolution(
        [0.3] * 5, EvolutionSettings(generations=400, seed=42, higher_is_better=True)
    )
    for _ in range(400):
        candidate = evolution.propose()
        evolution.judge(candidate, metric(candidate))
    assert evolution.best is not None
    untouched = metric((Affine(),) * 5)
    assert evolution.best[1] > untouched / 5
