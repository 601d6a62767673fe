"""What training did, epoch by epoch, over all trials on one axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from accaware.report.formatting import NOTHING, MetricText, counted, percent, short_time
from accaware.report.page.plot import Axis, Level, Line, Plot, Point, Span
from accaware.report.page.section import Folded, Paragraph, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.report.page.trials import metric_axis
from accaware.rundir.run_record import RunRecord
from accaware.search.budget import AccuracyBudget
from accaware.search.trial import Epoch

_AT_HAND = "not finished"

_MARKS = 300
_ROWS = 2000
"""Epochs that have a mark, or a row, at the most, about: a page of long runs stays small."""


@dataclass(frozen=True)
class _Course:
    """A trial's epochs, and how it ended."""

    trial: int
    epochs: Sequence[Epoch]
    ended: str


@dataclass(frozen=True)
class _Quantity:
    name: str
    of: Callable[[Epoch], float | None]
    text: Callable[[float | None], str]


def epochs(run: RunRecord) -> Section:
    """Metric, loss, learning rate and level, one plot below the other."""
    courses = list(_courses(run))
    every = [epoch for course in courses for epoch in course.epochs]
    if run.budget is None or not every:
        return Section("Epochs", [Paragraph("No epoch has finished yet.")])
    metric = MetricText(run.budget)
    quantities = [
        _Quantity(run.metric_name, lambda epoch: epoch.metric, metric.value),
        _Quantity("loss", lambda epoch: epoch.loss, _number),
        _Quantity("learning rate", lambda epoch: run.learning_rates.get(epoch.number), _number),
        _Quantity("compression rate", lambda epoch: epoch.compression_rate, _percent),
    ]
    plots = [
        _plot(run, run.budget, quantity, courses)
        for quantity in quantities
        if any(quantity.of(epoch) is not None for epoch in every)
    ]
    return Section("Epochs", [*plots, Folded("The same as a table", [_table(run, courses)])])


def _courses(run: RunRecord) -> Iterator[_Course]:
    for trial in run.trials:
        if trial.epochs:
            yield _Course(trial.number, trial.epochs, trial.reason)
    for number, epochs in run.at_hand.items():
        if epochs:
            yield _Course(number, epochs, _AT_HAND)


def _plot(
    run: RunRecord, budget: AccuracyBudget, quantity: _Quantity, courses: Sequence[_Course]
) -> Plot:
    is_metric = quantity.name == run.metric_name
    measured = [
        (course, epoch.number, value)
        for course in courses
        for epoch in course.epochs
        if (value := quantity.of(epoch)) is not None and math.isfinite(value)
    ]
    numbers = [epoch.number for course in courses for epoch in course.epochs]
    first, last = min(numbers), max(numbers)
    y = Axis.over(quantity.name, [value for *_, value in measured], quantity.text)
    y = metric_axis(run, budget) if is_metric else y
    limit = budget.minimal_tolerable
    levels = [Level(limit, f"limit {quantity.text(limit)}", "limit")] if is_metric else []
    marked = {epoch.number for _, epoch in _thinned(courses, _MARKS)}
    by_trial = [
        [(number, value) for course, number, value in measured if course is one] for one in courses
    ]
    return Plot(
        title=f"{quantity.name} by epoch",
        summary=f"{quantity.name} of {counted(len(numbers), 'epoch')} in "
        f"{counted(len(courses), 'trial')}; the table below has the numbers.",
        x=Axis("epoch", first - 0.5, last + 0.5, whole=True),
        y=y,
        lines=[Line(points=points) for points in by_trial if len(points) > 1],
        points=[
            Point(
                x=number,
                y=value,
                tip=f"trial {course.trial}, epoch {number}: {quantity.name} {quantity.text(value)}"
                + (f"; {course.ended}" if number == course.epochs[-1].number else ""),
                kind="last" if number == course.epochs[-1].number else "plain",
            )
            for course, number, value in measured
            if number in marked
        ],
        levels=levels,
        spans=[
            Span(
                start=course.epochs[0].number - 0.5,
                end=course.epochs[-1].number + 0.5,
                tip=f"trial {course.trial}: {course.ended}",
            )
            for course in courses
        ],
        small=not is_metric,
    )


def _table(run: RunRecord, courses: Sequence[_Course]) -> Table:
    assert run.budget is not None
    metric = MetricText(run.budget)
    shown = _thinned(courses, _ROWS)
    rows = [
        [
            Cell(str(epoch.number), epoch.number),
            Cell(str(course.trial), course.trial),
            Cell(percent(epoch.compression_rate), epoch.compression_rate),
            Cell(_number(epoch.loss), epoch.loss),
            Cell(
                _number(run.learning_rates.get(epoch.number)),
                run.learning_rates.get(epoch.number),
            ),
            Cell(metric.value(epoch.metric), epoch.metric),
            Cell(short_time(epoch.seconds), epoch.seconds),
            Cell(course.ended if epoch is course.epochs[-1] else ""),
        ]
        for course, epoch in shown
    ]
    total = sum(len(course.epochs) for course in courses)
    return Table(
        caption="Epochs" if len(shown) == total else f"Epochs, {len(shown)} of {total}",
        columns=columns(
            "epoch",
            "trial",
            "rate",
            "loss",
            "learning rate",
            run.metric_name,
            "time",
            "ended the trial",
            texts=["ended the trial"],
        ),
        rows=rows,
        sortable=True,
    )


def _thinned(courses: Sequence[_Course], most: int) -> list[tuple[_Course, Epoch]]:
    """All epochs, or one of every few, and the last of each trial in any case."""
    every = max(1, math.ceil(sum(len(course.epochs) for course in courses) / most))
    return [
        (course, epoch)
        for course in courses
        for at, epoch in enumerate(course.epochs)
        if at % every == 0 or epoch is course.epochs[-1]
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else percent(value)
