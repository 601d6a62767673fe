"""How many workers pay: searches over learning curves, timed in epochs, without any training.

    python scripts/simulate_workers.py --workers 1 2 4 8 16 32 64
    python scripts/simulate_workers.py --curves made-up

The curves are those that record_curves.py recorded, of real models; between two rates they are
mixed. Made-up ones lose with the rate and recover by a power law, with a little noise, each model
up to a rate of its own. The search is the real one, with all its rules, and so are its rounds; only
the clock is made up: each worker takes one unit for an epoch. Printed are, over all models: rounds,
epochs trained (those beyond what counts included), the wall time, the longest chain (the time with
workers that are never waited for), how much faster than with one trial at a time that is, and how
far the rate found is from the highest that holds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

from accaware.search.loop import create_accuracy_aware_training_loop
from accaware.search.metric import Measurement
from accaware.search.params import AdaptiveParams
from accaware.search.schedules.scheduler import CompressionScheduler
from accaware.search.schedules.schedules import Baseline
from accaware.search.trial import Checkpoint
from accaware.search.trials.course import TrialCourse
from accaware.search.trials.order import Began, EpochDone, Report, TrialOrder, TrialProgress

BUDGET = 0.01
RECORDED = Path(__file__).with_name("learning_curves.jsonl")


class Curves(Protocol):
    """What training would measure: 1 for the dense model.

    Attributes:
        holds: the highest rate that is within budget in the end.
        epochs: of a trial at the most.
    """

    @property
    def holds(self) -> float: ...

    @property
    def epochs(self) -> int: ...

    def metric(self, rate: float, age: int, trial: int) -> float:
        """At a rate, after so many epochs."""


class RecordedCurves:
    """Those of one model, as record_curves.py has them."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        curves = {float(rate): metrics for rate, metrics in line["curves"].items()}
        self._rates = sorted(curves)
        self._losses = [[1 - each / line["dense"] for each in curves[at]] for at in self._rates]
        self.epochs = min(map(len, self._losses))
        grid = [step / 1000 for step in range(int(1000 * self._rates[-1]) + 1)]
        self.holds = max(rate for rate in grid if self._least_lost(rate) <= BUDGET)

    def metric(self, rate: float, age: int, trial: int) -> float:
        """Mixed of the two curves nearest to a rate; nothing is lost at rate 0."""
        above = min(bisect_left(self._rates, rate), len(self._rates) - 1)
        high, of_high = self._rates[above], self._losses[above][age - 1]
        low, of_low = (
            (self._rates[above - 1], self._losses[above - 1][age - 1]) if above else (0, 0)
        )
        return 1 - (of_low + (rate - low) / (high - low) * (of_high - of_low))

    def _least_lost(self, rate: float) -> float:
        return min(1 - self.metric(rate, age, 0) for age in range(1, self.epochs + 1))


NOISE = 1e-6
"""Between two epochs: with more of it, trials are given up long before their last epoch."""


@dataclass(frozen=True)
class MadeUpCurves:
    """A power law.

    Attributes:
        seed: of the noise.
    """

    holds: float
    seed: int
    epochs: int

    def metric(self, rate: float, age: int, trial: int) -> float:
        """At a rate, after so many epochs."""
        left, least = 1 - rate, 1 - self.holds
        final = BUDGET * 0.9 * (least / max(left, 1e-3)) ** 2
        lost = 4 * final * (1 + 20 * age / self.epochs) ** -1.5
        chance = random.Random(f"{self.seed} {trial} {age}")
        return 1 - final - lost + chance.gauss(0, NOISE)


class CurveBench:
    """A model that is a rate, an age and the trial that it is of.

    Args:
        saved: its checkpoints, and those of whoever shares them.
    """

    model_sparsity = None
    maximal_compression_rate = 1.0

    def __init__(self, curves: Curves, saved: dict[Checkpoint, tuple[float, int, int]]) -> None:
        self.controller = self.runner = self
        self._curves = curves
        self.compression_rate = 0.0
        self._age = self._trial = 0
        self._saved = saved
        self.scheduler = CompressionScheduler(Baseline(0.5), lambda rate: None)

    def reset(self, trial: int) -> None:
        self._trial = trial

    def resume(self, order: TrialOrder) -> TrialProgress | None:
        return None

    def keep(self, order: TrialOrder, progress: TrialProgress) -> None: ...

    def forget(self, trial: int) -> None: ...

    def agree(self, value: Any) -> Any:
        return value

    def start(self, lr_factor: float) -> None:
        self._age = 0

    def anneal(self, share: float) -> None: ...

    def train_epoch(self, epoch: int) -> float | None:
        self._age += 1
        return None

    def validate(self, epoch: int) -> Measurement:
        return Measurement(self._curves.metric(self.compression_rate, self._age, self._trial))

    confirm = validate

    def end_epoch(self, epoch: int, loss: float | None, metric: float | None) -> None: ...

    def asks_to_stop(self, metric: float) -> bool:
        return False

    def warnings(self) -> Sequence[str]:
        return ()

    def save(self, name: str) -> Checkpoint:
        self._saved[Checkpoint(name)] = self.compression_rate, self._age, self._trial
        return Checkpoint(name)

    def load(self, checkpoint: Checkpoint) -> None:
        # A trial's noise is its own, whatever it starts from.
        trial = self._trial
        self.compression_rate, self._age, its = self._saved[checkpoint]
        self._trial = max(trial, its)

    def discard(self, checkpoint: Checkpoint) -> None: ...


class TimedExecutor:
    """Trials on workers that take a unit of time for each epoch."""

    def __init__(
        self, curves: Curves, workers: int, saved: dict[Checkpoint, tuple[float, int, int]]
    ) -> None:
        self._curves = curves
        self._saved = saved
        self._free = workers
        self._waiting: deque[TrialOrder] = deque()
        self._running: dict[int, tuple[float, deque[Report]]] = {}
        self.now = 0.0
        self.epochs = 0

    def submit(self, orders: Sequence[TrialOrder]) -> None:
        self._waiting.extend(orders)

    def next(self) -> Report | None:
        while self._free and self._waiting:
            order = self._waiting.popleft()
            course = TrialCourse(order, CurveBench(self._curves, self._saved), lambda: 0.0)
            reports = deque(one for one in course.reports() if isinstance(one, Began | EpochDone))
            self._free -= 1
            self._running[order.number] = self.now, reports
        # A worker's rate is known at once, and an epoch's result a unit later.
        trial = min(self._running, key=lambda number: self._due(number))
        due, reports = self._due(trial), self._running[trial][1]
        report = reports.popleft()
        self.now = max(self.now, due)
        self.epochs += isinstance(report, EpochDone)
        if reports:
            self._running[trial] = due, reports
        else:
            self._leave(trial)
        return report

    def _due(self, trial: int) -> float:
        since, reports = self._running[trial]
        return since + isinstance(reports[0], EpochDone)

    def _leave(self, trial: int) -> None:
        if self._running.pop(trial, None) is not None:
            self._free += 1

    def cancel(self, trial: int) -> None:
        self._waiting = deque(order for order in self._waiting if order.number != trial)
        self._leave(trial)

    def forget(self, trials: Sequence[int]) -> None: ...

    def rewind(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Config:
    accuracy_aware_training: AdaptiveParams
    higher_is_better: bool = True


@dataclass(frozen=True)
class Found:
    """One search."""

    rounds: int
    epochs: int
    wall: float
    chain: int
    behind: float


class Rounds:
    """Counts them, and the epochs of the longest trial of each."""

    def __init__(self) -> None:
        self.count = self.chain = 0

    def notify(self, event: Any) -> None:
        kind = type(event).__name__
        self.count += kind == ("RoundFinished")
        if kind == "EpochFinished":
            self.chain = max(self.chain, event.epoch.number)


def searched(curves: Curves, trials: int, workers: int, step: float) -> Found:
    """A search with so many trials at a time."""
    params = AdaptiveParams(
        maximal_absolute_accuracy_degradation=BUDGET,
        patience_epochs=curves.epochs,
        strategy="ramp",
        minimal_compression_rate_step=step,
        parallel_trials=trials,
    )
    saved: dict[Checkpoint, tuple[float, int, int]] = {}
    rounds, bench = Rounds(), CurveBench(curves, saved)
    executor = None if trials == 1 else TimedExecutor(curves, workers, saved)
    loop = create_accuracy_aware_training_loop(
        Config(params), bench, 1.0, observers=[rounds], clock=lambda: 0.0, executor=executor
    )
    result = loop.drive(bench)
    best = result.best.compression_rate if result.best and result.within_budget else 0.0
    if executor is None:
        epochs = result.epochs
        return Found(len(result.trials), epochs, epochs, epochs, curves.holds - best)
    counted = sum(len(trial.epochs) for trial in result.trials)
    assert counted == result.epochs
    return Found(rounds.count, executor.epochs, executor.now, rounds.chain, curves.holds - best)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--trials", type=int, help="at a time; as many as workers if not given")
    parser.add_argument("--curves", default=RECORDED, help="a file of them, or made-up")
    parser.add_argument("--step", type=float, default=0.005, help="minimal step between rates")
    options = parser.parse_args()
    models: list[Curves] = []
    if str(options.curves) == "made-up":
        chance = random.Random(0)
        models += [MadeUpCurves(chance.uniform(0.3, 0.93), seed, 200) for seed in range(24)]
    else:
        lines = Path(options.curves).read_text(encoding="utf-8").splitlines()
        models += [RecordedCurves(json.loads(line)) for line in lines]
    alone = mean(searched(model, 1, 1, options.step).wall for model in models)
    print(
        "| workers | trials at a time | rounds | epochs | wall time | longest chain | faster "
        "| behind |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for workers in options.workers:
        trials = options.trials or workers
        found = [searched(model, trials, workers, options.step) for model in models]
        wall = mean(one.wall for one in found)
        print(
            f"| {workers} | {trials} | {mean(one.rounds for one in found):.1f} "
            f"| {mean(one.epochs for one in found):.0f} | {wall:.0f} "
            f"| {mean(one.chain for one in found):.0f} | {alone / wall:.2f} x "
            f"| {mean(one.behind for one in found):+.4f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
