"""The first section: what came of the run, in a sentence and a table."""

from __future__ import annotations

from accaware.report.formatting import MetricText, counted, duration, rate
from accaware.report.page.section import Block, Paragraph, Section
from accaware.report.page.table import Cell, Table, columns
from accaware.report.verdict import confirmation_lines, verdict_rows
from accaware.rundir.run_record import RunRecord
from accaware.rundir.run_status import RunState


def verdict(run: RunRecord) -> Section:
    """Of a run that hasn't ended it is of the best so far."""
    blocks: list[Block] = [_headline(run), Paragraph(_standing(run))]
    result = None if run.result is None else run.result.result
    reached = run.best
    if run.budget is not None and reached is not None and reached.metric is not None:
        confirmation = None if result is None else result.confirmation
        blocks += [
            Paragraph(line, "bad")
            for line in confirmation_lines(None if result is None else result.best, confirmation)
        ]
        rows = verdict_rows(
            reached,
            run.budget,
            run.metric_name,
            confirmation=confirmation,
            model=None if run.result is None else run.result.model,
        )
        table = Table(
            caption="The dense model against the compressed one",
            columns=columns("", "dense", "compressed", "note", texts=["note"]),
            rows=[[Cell(text) for text in vars(row).values()] for row in rows],
        )
        blocks.append(table)
    blocks += [Paragraph(warning, "warned") for warning in run.warnings]
    return Section("Verdict", blocks)


def _headline(run: RunRecord) -> Paragraph:
    reached = run.best
    if run.budget is None or reached is None or reached.metric is None:
        if run.status.state is RunState.FINISHED:
            return Paragraph("Not within budget: no trial could be judged.", "headline bad")
        return Paragraph("No trial has been judged yet.", "headline")
    metric = MetricText(run.budget)
    so_far = "" if run.status.state is RunState.FINISHED else ", so far"
    verdict = "Within budget" if run.within_budget else "Best effort, not within budget"
    return Paragraph(
        f"{verdict}{so_far}: {rate(reached.compression_rate, reached.model_sparsity)}, "
        f"drop {metric.drop(reached.metric, reached.standard_error)} of the "
        f"{metric.value(run.budget.tolerance)} allowed.",
        f"headline {'good' if run.within_budget else 'bad'}",
    )


def _standing(run: RunRecord) -> str:
    status = run.status
    spent = f"{counted(len(run.trials), 'trial')}, {counted(status.epochs, 'epoch')}"
    if run.result is not None:
        spent += f", {duration(run.result.seconds)}"
    at = "" if status.current is None else f" in trial {status.current}"
    why = "" if status.message is None else f": {status.message}"
    return f"The run is {status.state.value}{at} after {spent}{why}."
