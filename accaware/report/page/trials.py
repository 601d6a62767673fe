"""Metric against rate: every trial, the budget's limit and the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator

from accaware.report.formatting import NOTHING, MetricText, counted, percent, rate
from accaware.report.page.plot import Axis, Level, Plot, Point
from accaware.report.page.section import Block, Paragraph, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.rundir.run_record import RunRecord
from accaware.search.budget import AccuracyBudget
from accaware.search.result import Best
from accaware.search.trial import Trial

_SHOWN = 12
"""Budgets below the baseline to which the plot goes down: a collapse would flatten all else."""


def trials(run: RunRecord) -> Section:
    """A plot and a table of the finished trials."""
    if run.budget is None or not run.trials:
        return Section("Trials", [Paragraph("No trial has finished yet.")])
    blocks: list[Block] = [_plot(run, run.budget), _table(run, run.budget)]
    return Section("Trials", blocks)


def trial_name(trial: Trial) -> str:
    """``trial 3 (ramp)``."""
    return f"trial {trial.number} ({trial.phase.value.replace('_', ' ')})"


def _plot(run: RunRecord, budget: AccuracyBudget) -> Plot:
    metric = MetricText(budget)
    axis = metric_axis(run, budget)
    points = list(_points(run, budget, axis))
    limit, dense = budget.minimal_tolerable, budget.baseline
    below = sum(point.kind.endswith("clipped") for point in points)
    beyond = f" {counted(below, 'trial')} beyond its edge." if below else ""
    return Plot(
        title=f"{run.metric_name} against compression rate",
        summary=f"{counted(len(run.trials), 'trial')}; the dense model has {metric.value(dense)}, "
        f"the limit is {metric.value(limit)}.{beyond} The table below has the numbers.",
        x=Axis("compression rate", 0.0, 1.0, lambda value: f"{100 * value:.0f} %"),
        y=axis,
        points=points,
        levels=[
            Level(dense, f"dense {metric.value(dense)}", "dense"),
            Level(limit, f"limit {metric.value(limit)}", "limit"),
        ],
    )


def metric_axis(run: RunRecord, budget: AccuracyBudget) -> Axis:
    """From what was measured at best to what is hopeless."""
    measured = [
        epoch.metric for trial in run.trials for epoch in trial.epochs if epoch.metric is not None
    ]
    at_hand = (epoch for epochs in run.at_hand.values() for epoch in epochs)
    measured += [epoch.metric for epoch in at_hand if epoch.metric is not None]
    shown = [value for value in measured if budget.deficit(value) <= _SHOWN]
    edge = _SHOWN * (budget.tolerance or abs(budget.baseline) / 100 or 1.0)
    worst = budget.baseline - edge if budget.higher_is_better else budget.baseline + edge
    rest = [worst] if len(shown) < len(measured) else []
    text = MetricText(budget).value
    values = [*shown, *rest, budget.baseline, budget.minimal_tolerable]
    return Axis.over(run.metric_name, values, text)


def _points(run: RunRecord, budget: AccuracyBudget, axis: Axis) -> Iterator[Point]:
    metric = MetricText(budget)
    best = run.best
    number = best.trial if isinstance(best, Best) else best and best.number
    for trial in run.trials:
        if trial.metric is None or not math.isfinite(trial.metric):
            continue
        kind = _kind(trial)
        if trial.number == number:
            kind += " best"
        if not axis.holds(trial.metric):
            kind += " clipped"
        yield Point(
            x=trial.compression_rate,
            y=trial.metric,
            tip=f"{trial_name(trial)}: {rate(trial.compression_rate, trial.model_sparsity)}, "
            f"{run.metric_name} {metric.value(trial.metric)}, "
            f"drop {metric.drop(trial.metric, trial.standard_error)}; {trial.reason}",
            kind=kind,
            error=trial.standard_error,
        )
    confirmation = None if run.result is None else run.result.result.confirmation
    if confirmation is None:
        return
    by_number = {trial.number: trial for trial in run.trials}
    for one in confirmation.tried:
        trial = by_number[one.trial]
        if not math.isfinite(one.metric):
            continue
        # Drops can be compared, the metrics of two sets of data can't.
        lost = confirmation.budget.absolute_degradation(one.metric)
        kept = budget.baseline - lost if budget.higher_is_better else budget.baseline + lost
        unseen = MetricText(confirmation.budget)
        verdict = "confirmed" if one.within_budget else "not confirmed"
        yield Point(
            x=trial.compression_rate,
            y=kept,
            tip=f"trial {one.trial} on the data that confirm: {verdict}, {run.metric_name} "
            f"{unseen.value(one.metric)}, drop {unseen.drop(one.metric, one.standard_error)} "
            "(drawn as far below the dense line)",
            kind="confirmation" + ("" if axis.holds(kept) else " clipped"),
            error=one.standard_error,
        )


def _table(run: RunRecord, budget: AccuracyBudget) -> Table:
    metric = MetricText(budget)
    rows = [
        [
            Cell(str(trial.number), trial.number),
            Cell(trial.phase.value.replace("_", " ")),
            _start_cell(trial.start),
            Cell(percent(trial.compression_rate), trial.compression_rate),
            Cell(metric.value(trial.metric), trial.metric),
            Cell(
                metric.drop(trial.metric, trial.standard_error),
                None if trial.metric is None else budget.absolute_degradation(trial.metric),
            ),
            Cell(f"{trial.lr_factor:g}", trial.lr_factor),
            Cell(str(sum(epoch.number > 0 for epoch in trial.epochs)), len(trial.epochs)),
            Cell(trial.reason or NOTHING, kind=_kind(trial)),
        ]
        for trial in run.trials
    ]
    return Table(
        caption="Trials; a heading sorts by its column",
        columns=columns(
            "trial",
            "phase",
            "from",
            "rate",
            run.metric_name,
            "drop",
            "learning rate factor",
            "epochs",
            "ended",
            texts=["phase", "from", "ended"],
        ),
        rows=rows,
        sortable=True,
    )


def _kind(trial: Trial) -> str:
    if trial.cancelled:
        return "cancelled"
    return "good" if trial.within_budget else "bad"


def _start_cell(start: int | None) -> Cell:
    return Cell("dense", -1) if start is None else Cell(f"trial {start}", start)
