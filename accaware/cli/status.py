"""``accaware status``: where a run stands, for people or programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accaware.cli.conduct import how_to_resume
from accaware.cli.exit_codes import ExitCode
from accaware.report.formatting import MetricText, counted, percent
from accaware.results import strict_json
from accaware.rundir.directory import RunDirectory
from accaware.rundir.run_status import RunStanding, standing
from accaware.search.trial import Trial


def status(path: Path, *, json: bool) -> ExitCode:
    """Print it.

    Raises:
        UsageError: there is no run, or its files can't be read.
    """
    directory = RunDirectory.open(path)
    stands = standing(directory)
    if json:
        print(strict_json.document(_document(path, stands)), end="")
    else:
        for line in _lines(directory, stands):
            print(line)
    return ExitCode.WITHIN_BUDGET


def _document(path: Path, stands: RunStanding) -> dict[str, Any]:
    best = stands.best
    return {
        "state": stands.state,
        "message": stands.message,
        "trial": stands.current,
        "epochs": stands.epochs,
        "trials": [_trial(trial) for trial in stands.trials],
        "best": None if best is None else _trial(best),
        "resume": ["accaware", "run", "--resume", str(path)] if stands.can_resume else None,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "target_rate": trial.target_rate,
        "compression_rate": trial.compression_rate,
        "metric": trial.metric,
        "within_budget": trial.within_budget,
        "reason": trial.reason,
    }


def _lines(directory: RunDirectory, stands: RunStanding) -> list[str]:
    at = "" if stands.current is None else f" in trial {stands.current}"
    why = "" if stands.message is None else f": {stands.message}"
    lines = [
        f"{directory.path}: {stands.state.value}{at}{why}",
        f"{counted(len(stands.trials), 'trial')} finished, {counted(stands.epochs, 'epoch')}",
    ]
    if stands.budget is not None:
        metric = MetricText(stands.budget)
        lines += [
            f"trial {trial.number}: rate {percent(trial.compression_rate)}, "
            f"metric {metric.value(trial.metric)}, {trial.reason}"
            for trial in stands.trials
        ]
        if stands.best is not None:
            best = stands.best
            kind = "best so far" if best.within_budget else "best effort so far"
            rate, value = percent(best.compression_rate), metric.value(best.metric)
            lines.append(f"{kind}: trial {best.number}, rate {rate}, metric {value}")
    if stands.can_resume:
        lines.append(how_to_resume(directory.path))
    return lines
