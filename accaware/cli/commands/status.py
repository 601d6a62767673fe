"""``accaware status``: where a run stands, for people or programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accaware.cli import completion
from accaware.cli.errors import reported
from accaware.cli.exit_codes import ExitCode
from accaware.cli.hints import how_to_resume

if TYPE_CHECKING:
    from accaware.rundir.run_status import RunStatus


def command(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A run's directory.", autocompletion=completion.runs),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell where the run in DIR stands: its trials, the best of them, and how to go on.

    It is running, interrupted (killed, too), failed or finished. Nothing is changed.
    """
    raise typer.Exit(reported(lambda: status(directory, json=json)))


def status(path: Path, *, json: bool) -> ExitCode:
    """Print it.

    Raises:
        UsageError: there is no run, or its files can't be read.
    """
    from accaware.api.status import status as status_of

    stands = status_of(path)
    print(stands.to_json() if json else "\n".join(_lines(stands)) + "\n", end="")
    return ExitCode.WITHIN_BUDGET


def _lines(stands: RunStatus) -> list[str]:
    from accaware.report.formatting import MetricText, counted, percent, rate

    numbers = [str(trial.number) for trial in stands.running]
    at = f" in trial{'s' * (len(numbers) > 1)} {' and '.join(numbers)}" if numbers else ""
    why = "" if stands.message is None else f": {stands.message}"
    lines = [
        f"{stands.directory}: {stands.state.value}{at}{why}",
        f"{counted(len(stands.trials), 'trial')} finished, {counted(stands.epochs, 'epoch')}",
    ]
    lines += [
        f"trial {trial.number}: target {percent(trial.target_rate)}, "
        f"epoch {trial.epochs}/{trial.planned_epochs}, on {trial.worker}"
        for trial in stands.running
        if trial.worker is not None
    ]
    if stands.budget is not None:
        metric = MetricText(stands.budget)
        lines += [
            f"trial {trial.number}: {rate(trial.compression_rate, trial.model_sparsity)}, "
            f"metric {metric.value(trial.metric)}, {trial.reason}"
            for trial in stands.trials
        ]
        if stands.best is not None:
            best = stands.best
            kind = "best so far" if best.within_budget else "best effort so far"
            reached = rate(best.compression_rate, best.model_sparsity)
            value = metric.value(best.metric)
            lines.append(f"{kind}: trial {best.number}, {reached}, metric {value}")
    if stands.can_resume:
        lines.append(how_to_resume(stands.directory))
    return lines
