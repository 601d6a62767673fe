"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accaware.results import strict_json
from accaware.results.latency import LatencyComparison
from accaware.results.sizes import Size


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """What a run is compared by: of one that hasn't ended, what is best so far.

    Attributes:
        directory: of the run.
        state: running, interrupted, failed or finished.
        within_budget: None as long as no trial was judged, as are the next ones.
        drop: what was lost against the baseline, in the metric's units.
        relative_drop: in percent of the baseline; None for a baseline of 0, too.
        parameters, flops, file_size: None where no model is handed over.
        latency: None where it wasn't measured, too.
        seconds: wall time of the whole run; None as long as there is no result.
    """

    directory: str
    state: str
    within_budget: bool | None = None
    metric_name: str
    higher_is_better: bool | None = None
    baseline: float | None = None
    metric: float | None = None
    standard_error: float | None = None
    drop: float | None = None
    relative_drop: float | None = None
    compression_rate: float | None = None
    parameters: Size | None = None
    flops: Size | None = None
    file_size: Size | None = None
    latency: LatencyComparison | None = None
    trials: int
    epochs: int
    seconds: float | None = None

    @property
    def seconds_of_a_forward(self) -> float | None:
        """The compressed model's median."""
        return None if self.latency is None else self.latency.compressed.median


Cost = Callable[[ComparedRun], float | None]


def _compressed(size: Size | None) -> float | None:
    return None if size is None else size.compressed


COSTS: dict[str, Cost] = {
    "FLOPs": lambda run: _compressed(run.flops),
    "parameters": lambda run: _compressed(run.parameters),
    "latency": lambda run: run.seconds_of_a_forward,
    "file size": lambda run: _compressed(run.file_size),
}
"""What a better metric may cost, each the less the better."""


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were named."""

    runs: Sequence[ComparedRun]

    @property
    def same_metric(self) -> bool:
        """Whether their metrics can be compared, and not only what was lost of each."""
        kinds = {
            (run.metric_name, run.higher_is_better) for run in self.runs if run.metric is not None
        }
        return len(kinds) <= 1

    def loss(self, run: ComparedRun) -> float | None:
        """What is compared, the less the better: the metric, or else what was lost of it."""
        if not self.same_metric:
            return run.relative_drop
        if run.metric is None:
            return None
        return -run.metric if run.higher_is_better else run.metric

    def front(self, cost: Cost) -> list[ComparedRun]:
        """The Pareto front, cheapest first: no other run is at least as good and as cheap.

        Of several that are the same in both, all.
        """
        known = [
            (spent, lost, run)
            for run in self.runs
            if (spent := cost(run)) is not None and (lost := self.loss(run)) is not None
        ]
        on_it = [
            (spent, lost, run)
            for spent, lost, run in known
            if not any(
                other[:2] != (spent, lost) and other[0] <= spent and other[1] <= lost
                for other in known
            )
        ]
        return [run for *_, run in sorted(on_it, key=lambda each: each[:2])]

    def to_dict(self) -> dict[str, Any]:
        """The runs, and by cost the directories of those on the Pareto front."""
        fronts = {
            name.replace(" ", "_").lower(): [run.directory for run in self.front(cost)]
            for name, cost in COSTS.items()
        }
        data: dict[str, Any] = strict_json.jsonable({"runs": self.runs, "pareto_fronts": fronts})
        return data

    def to_json(self) -> str:
        """The text that `accaware compare --json` prints."""
        return strict_json.document(self.to_dict())
