"""Which runs no other one beats."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accaware.results.comparison import COSTS, ComparedRun, Comparison
from accaware.results.sizes import Size

FLOPS = COSTS["FLOPs"]


def run(name: str, metric: float | None, flops: int | None, **changes: Any) -> ComparedRun:
    known: dict[str, Any] = {
        "directory": name,
        "state": "finished",
        "metric_name": "top1",
        "higher_is_better": True,
        "metric": metric,
        "relative_drop": None if metric is None else 100 - metric,
        "flops": flops and Size(1000, flops),
        "trials": 3,
        "epochs": 5,
    }
    return ComparedRun(**{**known, **changes})


def names(runs: list[ComparedRun]) -> list[str]:
    return [run.directory for run in runs]


def test_the_front_has_what_is_better_or_cheaper() -> None:
    runs = [run("a", 99, 900), run("b", 98, 500), run("c", 97, 600), run("d", 90, 100)]
    assert names(Comparison(runs).front(FLOPS)) == ["d", "b", "a"]


def test_twins_are_both_on_it_and_what_is_not_known_is_not() -> None:
    runs = [run("a", 98, 500), run("b", 98, 500), run("c", 98, 501), run("d", 99, None)]
    assert names(Comparison([*runs, run("e", None, 5)]).front(FLOPS)) == ["a", "b"]


def test_a_lower_loss_is_better() -> None:
    runs = [run(name, loss, 500, higher_is_better=False) for name, loss in (("a", 2), ("b", 1))]
    assert names(Comparison(runs).front(FLOPS)) == ["b"]


def test_other_metrics_are_compared_by_their_drops() -> None:
    loss = run("a", 2.0, 500, metric_name="loss", higher_is_better=False, relative_drop=1.5)
    comparison = Comparison([loss, run("b", 98, 500)])
    assert not comparison.same_metric
    assert names(comparison.front(FLOPS)) == ["a"]
    assert comparison.to_dict()["pareto_fronts"]["flops"] == ["a"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), max_size=8))
def test_each_run_is_on_the_front_or_beaten_from_it(points: list[tuple[int, int]]) -> None:
    runs = [run(str(at), metric, flops) for at, (metric, flops) in enumerate(points)]
    comparison = Comparison(runs)
    front = comparison.front(FLOPS)

    def beats(one: ComparedRun, other: ComparedRun) -> bool:
        ours = -(one.metric or 0), FLOPS(one) or 0
        theirs = -(other.metric or 0), FLOPS(other) or 0
        return ours != theirs and ours[0] <= theirs[0] and ours[1] <= theirs[1]

    for each in runs:
        assert (each in front) is not any(beats(other, each) for other in front)
