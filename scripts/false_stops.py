"""How often a trial is given up that would have passed, by learning curves that were recorded.

    python scripts/false_stops.py

The curves are record_curves.py's; at each rate of a grid it is asked, epoch by epoch, whether the
trial is given up. Printed are, for several patiences: trials that pass in so many epochs; those of
them that are given up before; and the epochs that trials take which can't pass. Beside the search's
rule stands one that goes by the pace of the last two epochs, as a baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from simulate_workers import BUDGET, RECORDED, RecordedCurves

from accaware.search.strategies.learning_curve import can_still_pass

Rule = Callable[[Sequence[float], int], bool]
GRID = [rate / 1000 for rate in range(500, 960, 5)]


def pace_of_two(margins: Sequence[float], left: int) -> bool:
    """Were the metric to go on as in its last two epochs."""
    if len(margins) < 3:
        return True
    gain = (margins[-1] - margins[-3]) / 2
    return max(margins) + left * max(gain, 0.0) >= 0


RULES: dict[str, Rule] = {
    "doublings of the epochs": can_still_pass,
    "pace of two epochs": pace_of_two,
}


def trained(margins: Sequence[float], rule: Rule) -> tuple[int, bool]:
    """For how many epochs, and whether it has passed by then."""
    for epoch in range(1, len(margins) + 1):
        if margins[epoch - 1] >= 0:
            return epoch, True
        if not rule(margins[:epoch], len(margins) - epoch):
            return epoch, False
    return len(margins), False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, default=RECORDED)
    parser.add_argument("--patience", type=int, nargs="+", default=[5, 10, 20, 50, 200])
    options = parser.parse_args()
    lines = options.curves.read_text(encoding="utf-8").splitlines()
    models = [RecordedCurves(json.loads(line)) for line in lines]
    print("| patience | rule | trials that can pass | given up | epochs of those that can't |")
    print("|---|---|---|---|---|")
    for patience in options.patience:
        trials = [
            [model.metric(rate, age, 0) - (1 - BUDGET) for age in range(1, patience + 1)]
            for model in models
            for rate in GRID
        ]
        able = [each for each in trials if max(each) >= 0]
        unable = [each for each in trials if max(each) < 0]
        for name, rule in RULES.items():
            lost = sum(not trained(each, rule)[1] for each in able)
            spent = sum(trained(each, rule)[0] for each in unable)
            print(f"| {patience} | {name} | {len(able)} | {lost} | {spent} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
