"""Several runs: what a better metric costs, and a table that sorts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accaware.report.formatting import percent, quantity, short_time
from accaware.report.page.plot import Axis, Line, Plot, Point
from accaware.report.page.section import Block, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.report.tables import compared_headings, comparison_rows
from accaware.results.comparison import COSTS, ComparedRun, Comparison

_TEXTS: dict[str, Callable[[float], str]] = {
    "FLOPs": lambda value: quantity(round(value), "FLOPs"),
    "parameters": lambda value: quantity(round(value)),
    "latency": short_time,
    "file size": lambda value: quantity(round(value), "B"),
}


def comparison(found: Comparison) -> list[Section]:
    """The table, and a plot of the Pareto front for each cost that is known."""
    rows = [
        [Cell(text, by, _kind(run) if at == 1 else "") for at, (text, by) in enumerate(row)]
        for run, row in zip(found.runs, comparison_rows(found), strict=True)
    ]
    table = Table(
        caption="Runs; a heading sorts by its column",
        columns=columns(*compared_headings(found), texts=["verdict"]),
        rows=rows,
        sortable=True,
    )
    fronts: list[Block] = list(_fronts(found))
    return [Section("Runs", [table]), *([Section("Pareto fronts", fronts)] if fronts else [])]


def _kind(run: ComparedRun) -> str:
    return "" if run.within_budget is None else "good" if run.within_budget else "bad"


def _fronts(found: Comparison) -> Iterator[Plot]:
    for name, cost in COSTS.items():
        known = [
            (run, spent, value)
            for run in found.runs
            if (spent := cost(run)) is not None and (value := _value(found, run)) is not None
        ]
        if not known:
            continue
        text, label = _TEXTS[name], _label(found)
        front = found.front(cost)
        values = {run.directory: (spent, value) for run, spent, value in known}
        steps = [values[run.directory] for run in front]
        yield Plot(
            title=f"{label} against {name}",
            summary=f"On the Pareto front: {', '.join(run.directory for run in front)}.",
            x=Axis.over(name, [spent for _, spent, _ in known], text),
            y=Axis.over(label, [value for *_, value in known], _number),
            lines=[Line(points=steps, kind="front")] if len(steps) > 1 else [],
            points=[
                Point(
                    x=spent,
                    y=value,
                    tip=f"{run.directory}: {label} {_number(value)}, {name} {text(spent)}, rate "
                    f"{percent(run.compression_rate or 0.0)}"
                    + (", on the Pareto front" if run in front else ""),
                    kind=_kind(run) + (" best" if run in front else ""),
                )
                for run, spent, value in known
            ],
        )


def _label(found: Comparison) -> str:
    return found.runs[0].metric_name if found.same_metric else "drop in % of the baseline"


def _value(found: Comparison, run: ComparedRun) -> float | None:
    return run.metric if found.same_metric else run.relative_drop


def _number(value: float) -> str:
    return f"{value:.4g}"
