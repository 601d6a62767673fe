"""What to do once a run has ended: a line each, with a command to copy."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accaware.api.run_result import RunResult
from accaware.rundir.directory import RunDirectory
from accaware.rundir.result_file import UNFINISHED
from accaware.search.result import Best, SearchResult, StopReason

_SEARCH = "accuracy_aware_training"
_ABSOLUTE = "maximal_absolute_accuracy_degradation"
_RELATIVE = "maximal_relative_accuracy_degradation"


def next_steps(result: RunResult) -> list[str]:
    """Lines for people; none where the run is to be gone on with.

    A model within budget is to be deployed, timed and looked at. Where nothing is within budget,
    it is to be found out why, and to be tried again with more epochs or a wider budget.
    """
    if result.stop_reason in UNFINISHED:
        return []
    steps = list(_to_use(result) if result.within_budget else _to_try(result))
    width = max(len(purpose) for purpose, _ in steps)
    return [f"{purpose + ':':{width + 1}} {command}" for purpose, command in steps]


def _to_use(result: RunResult) -> Iterator[tuple[str, str]]:
    directory = RunDirectory(result.directory, ())
    path = shlex.quote(str(result.directory))
    if not any(directory.exports.glob("*")):
        # What isn't installed would be the first thing to fail.
        onnx = all(map(find_spec, ("onnx", "onnxruntime", "onnxscript")))
        form = "onnx" if onnx else "torch-export"
        yield "to deploy it", f"accaware export {path} --format {form}"
    yield "to time it", f"accaware benchmark {path}"
    yield "to look at the run", f"accaware report {path} --open"


def _to_try(result: RunResult) -> Iterator[tuple[str, str]]:
    directory = RunDirectory(result.directory, ())
    path, config = (shlex.quote(str(path)) for path in (directory.path, directory.config))
    yield "to see what each trial lost", f"accaware report {path} --open"
    params = _params(directory.config)
    if params is None:
        return
    yield "to see what each layer costs", f"accaware inspect {config} --samples 500"
    again = f"accaware run {config} --set {_SEARCH}.params."
    few = "maximal_total_epochs"
    if result.stop_reason is not StopReason.EPOCHS_SPENT and "patience_epochs" in params:
        few = "patience_epochs"
    yield "to train for longer", f"{again}{few}={2 * params[few]}"
    best = result.best
    if best is not None:
        lost = _lost(result.search, best)
        key, unit = _ABSOLUTE, 1.0
        if params.get(_ABSOLUTE) is None:
            key, unit = _RELATIVE, abs(result.baseline) / 100
        if unit and math.isfinite(lost):
            yield "to allow what the best effort lost", f"{again}{key}={_ceiling(lost / unit)}"


def _params(config: Path) -> dict[str, Any] | None:
    """The search's parameters in the run's config; None where it can't be read."""
    try:
        params: dict[str, Any] = json.loads(config.read_text("utf-8"))[_SEARCH]["params"]
    except (OSError, ValueError, KeyError):
        return None
    return params


def _lost(result: SearchResult, best: Best) -> float:
    """The smallest budget that the best effort is within, in the metric's units.

    With a required confidence it is that of the bound, and of the data that confirm, too.
    """
    budget, confirmation = result.budget, result.confirmation
    lost = budget.tolerance - budget.margin(best.metric, best.standard_error)
    confirmed = None if confirmation is None else confirmation.of(best.trial)
    if confirmation is None or confirmed is None:
        return lost
    other = confirmation.budget
    margin = other.margin(confirmed.metric, confirmed.standard_error)
    return max(lost, other.tolerance - margin)


def _ceiling(value: float) -> str:
    """At least ``value``, in two digits or three."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.3g}"
